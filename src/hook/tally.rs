//! Who is refused, by which plugin: counts of one shard, for metrics.

use crate::base::limits::REFUSAL_ROWS_MAX;
use crate::plan::{Consumer, Route, Service};
use ahash::RandomState;
use std::collections::HashMap;

/// The refusals of a shard; one of its [`Locals`](super::Locals).
///
/// Bounded: beyond [`REFUSAL_ROWS_MAX`] rows a new one is counted for its plugin, with `other` in the place of service, route
/// and consumer. Adding to a row that is there allocates nothing.
#[derive(Default)]
pub struct Tally {
    /// By a hash of what tells them apart; that two of a few thousand agree in 64 bits will not be seen.
    rows: HashMap<u64, Refusals, RandomState>,
    by: &'static str,
}

/// One row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// The plugin.
    pub plugin: String,
    /// Name or id of the service; empty where there is none.
    pub service: String,
    /// Name or id of the route.
    pub route: String,
    /// Name or id of the consumer; empty where it is not known.
    pub consumer: String,
    /// Who shares the count that was used up; empty for plugins that count nothing.
    pub by: &'static str,
    /// The status.
    pub code: u16,
    /// Did it pass all the same, as the plugin only watches?
    pub shadow: bool,
    /// How many.
    pub count: u64,
}

const OTHER: &str = "other";

impl Tally {
    /// Says who shares the count that the next refusal is about.
    pub fn note_by(&mut self, by: &'static str) {
        self.by = by;
    }

    /// Counts a refusal.
    pub fn add(
        &mut self,
        plugin: &str,
        route: Option<&Route>,
        service: Option<&Service>,
        consumer: Option<Consumer<'_>>,
        code: u16,
        shadow: bool,
    ) {
        let by = std::mem::take(&mut self.by);
        let ids =
            (route.map(|route| route.id), service.map(|service| service.id), consumer.map(|consumer| consumer.id));
        let hash = self.rows.hasher().clone();
        let mut at = hash.hash_one((plugin, ids, by, code, shadow));
        if let Some(row) = self.rows.get_mut(&at) {
            row.count += 1;
            return;
        }
        if self.rows.len() >= REFUSAL_ROWS_MAX {
            at = hash.hash_one((plugin, by, code, shadow));
            // As many as there are plugins and statuses they refuse with, which is few: nobody outside chooses them.
            self.rows.entry(at).or_insert_with(|| {
                let other = || OTHER.to_owned();
                let (service, route, consumer) = (other(), other(), other());
                Refusals { plugin: plugin.to_owned(), service, route, consumer, by, code, shadow, count: 0 }
            });
        }
        let row = self.rows.entry(at).or_insert_with(|| {
            let named = |name: Option<&str>, id: uuid::Uuid| name.map_or_else(|| id.to_string(), str::to_owned);
            Refusals {
                plugin: plugin.to_owned(),
                service: service.map_or_else(String::new, |of| named(of.name.as_deref(), of.id)),
                route: route.map_or_else(String::new, |of| named(of.name.as_deref(), of.id)),
                consumer: consumer.map_or_else(String::new, |of| named(of.username.or(of.custom_id), of.id)),
                by,
                code,
                shadow,
                count: 0,
            }
        });
        row.count += 1;
    }

    /// Every row, in no order.
    pub fn rows(&self) -> impl Iterator<Item = &Refusals> {
        self.rows.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::ConsumerIx;
    use crate::plan::{Consumers, NewConsumer};

    #[test]
    fn rows_have_a_bound_and_nothing_goes_uncounted() {
        let mut tally = Tally::default();
        let mut consumers = Consumers::default();
        for n in 0..REFUSAL_ROWS_MAX + 5 {
            let (username, id) = (format!("c{n}"), uuid::Uuid::from_u128(n as u128));
            let at = &crate::base::span::Span::nowhere();
            consumers.push(NewConsumer { id, username: Some(&username), custom_id: None, groups: &[], tags: &[], at });
        }
        let consumer = |n: usize| consumers.at(ConsumerIx(n as u32));
        for n in 0..REFUSAL_ROWS_MAX + 5 {
            tally.note_by("consumer");
            tally.add("rate-limiting", None, None, Some(consumer(n)), 429, false);
        }
        tally.add("rate-limiting", None, None, Some(consumer(3)), 429, false);
        tally.add("key-auth", None, None, None, 401, false);
        let of = |name: &str| tally.rows().filter(|row| row.consumer == name).map(|row| row.count).collect::<Vec<_>>();
        assert_eq!((of("c3"), of("other").iter().sum::<u64>()), (vec![1], 7));
        assert_eq!(tally.rows().map(|row| row.count).sum::<u64>(), REFUSAL_ROWS_MAX as u64 + 7);
        assert!(tally.rows().count() <= REFUSAL_ROWS_MAX + 3);
    }
}

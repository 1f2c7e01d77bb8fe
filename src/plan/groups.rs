//! Groups of consumers that plugins may be for, and who is in them. Not the words of access lists, which consumers have.

use crate::base::id::{ConsumerIx, GroupIx};
use crate::base::span::Span;
use uuid::Uuid;

/// A group.
#[derive(Clone, Debug)]
pub struct ConsumerGroup {
    /// Stable id.
    pub id: Uuid,
    /// Unique name.
    pub name: String,
    /// Tags.
    pub tags: Vec<String>,
    /// Where it was written.
    pub at: Span,
}

/// All groups of a plan, in the order they were written: where a consumer is in several, the first counts.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    /// The groups.
    pub all: Vec<ConsumerGroup>,
    /// Who is in which, sorted, each once.
    pub members: Vec<(ConsumerIx, GroupIx)>,
}

/// The groups of each consumer, found at once: four bytes a consumer, and four for each group it is in.
#[derive(Debug, Default)]
pub struct Membership {
    /// By [`ConsumerIx`]: where in `groups` its own begin; one more at the end.
    begins: Vec<u32>,
    groups: Vec<GroupIx>,
}

impl Membership {
    /// Of so many consumers.
    pub fn of(groups: &Groups, consumers: usize) -> Membership {
        let mut begins = Vec::with_capacity(consumers + 1);
        let mut at = 0;
        for consumer in 0..=consumers {
            begins.push(at as u32);
            at += groups.members[at..].iter().take_while(|(member, _)| member.ix() == consumer).count();
        }
        Membership { begins, groups: groups.members.iter().map(|(_, group)| *group).collect() }
    }

    /// The groups of one, in the order they were written. O(1).
    pub fn groups(&self, consumer: ConsumerIx) -> &[GroupIx] {
        match self.begins.get(consumer.ix()..consumer.ix() + 2) {
            Some([begin, end]) => &self.groups[*begin as usize..*end as usize],
            _ => &[],
        }
    }

    /// The names of the groups of one, which `groups` knows, in the order they were written. Allocates nothing.
    pub fn names<'g>(&'g self, groups: &'g Groups, consumer: ConsumerIx) -> impl Iterator<Item = &'g str> {
        let known = self.groups(consumer).iter().filter_map(|ix| groups.all.get(ix.ix()));
        known.map(|group| group.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_consumer_has_its_own_groups() {
        let members = [(1, 0), (1, 2), (3, 1)].map(|(who, group)| (ConsumerIx(who), GroupIx(group))).to_vec();
        let named = |name: &&str| {
            let (name, at) = ((*name).to_owned(), Span::nowhere());
            ConsumerGroup { id: Uuid::nil(), name, tags: Vec::new(), at }
        };
        let groups = Groups { all: ["a", "b", "c"].iter().map(named).collect(), members };
        let membership = Membership::of(&groups, 5);
        let names = |who| membership.names(&groups, ConsumerIx(who)).collect::<Vec<_>>();
        assert_eq!([names(0), names(1), names(3), names(9)], [vec![], vec!["a", "c"], vec!["b"], vec![]]);
        let of = |who| membership.groups(ConsumerIx(who)).iter().map(|group| group.0).collect::<Vec<_>>();
        assert_eq!([of(0), of(1), of(2), of(3), of(4), of(9)], [vec![], vec![0, 2], vec![], vec![1], vec![], vec![]]);
    }
}

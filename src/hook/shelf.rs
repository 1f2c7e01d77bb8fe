//! Places where plugins keep things, by type: one for the process, one per generation, one per shard.

use std::any::{Any, TypeId};
use std::sync::{Arc, Mutex, PoisonError};

/// Shared things, one per type. Used while plugins are built, never while requests are served.
#[derive(Default)]
pub struct Shelf(Mutex<Vec<(TypeId, Arc<dyn Any + Send + Sync>)>>);

impl Shelf {
    /// The thing of this type; made by `make` where there is none yet.
    pub fn take_or<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let id = TypeId::of::<T>();
        let mut things = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, thing)) = things.iter().find(|(held, _)| *held == id) {
            return thing.clone().downcast().expect("a thing is shelved under its own type");
        }
        let thing = Arc::new(make());
        things.push((id, thing.clone()));
        thing
    }
}

/// A shard's own things, one per type; lives as long as the shard.
#[derive(Default)]
pub struct Locals(Vec<(TypeId, Box<dyn Any>)>);

impl Locals {
    /// The shard's thing of this type; made by `make` at first use. O(types), a handful.
    pub fn of<T: Any>(&mut self, make: impl FnOnce() -> T) -> &mut T {
        let id = TypeId::of::<T>();
        let at = match self.0.iter().position(|(held, _)| *held == id) {
            Some(at) => at,
            None => {
                self.0.push((id, Box::new(make())));
                self.0.len() - 1
            }
        };
        self.0[at].1.downcast_mut().expect("a thing is kept under its own type")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_made_once_per_type() {
        let shelf = Shelf::default();
        let first = shelf.take_or(|| 7u32);
        assert!(Arc::ptr_eq(&first, &shelf.take_or(|| 8u32)));
        assert_eq!(*shelf.take_or(|| 8u64), 8);
        let mut locals = Locals::default();
        *locals.of(|| 1u8) += 1;
        assert_eq!(*locals.of(|| 9u8), 2);
    }
}

//! Free lists of buffers: two size classes per shard, last in first out so that the warm one is used next.

use std::cell::{Cell, RefCell};

/// Buffers are made so many bytes at a time, so that they lie side by side: freed one by one between things that stay,
/// they would leave holes smaller than a page, which no allocator can give back.
const BATCH_BYTES: usize = 64 * 1024;

/// Buffers of a batch are so many bytes apart beyond their class, in turns: beginnings that all lie at one distance from
/// a page would share a few sets of the caches and push each other out.
const COLOUR_BYTES: usize = 64;

/// Distances there are.
const COLOURS: usize = 16;

/// A shard's free buffers of one class.
#[derive(Debug)]
pub struct Pool {
    free: RefCell<Vec<Vec<u8>>>,
    bytes: usize,
    kept: usize,
    /// The fewest that lay free since the last [`Pool::trim`]: so many were not needed.
    least: Cell<usize>,
    /// Buffers made because the list was empty; a steady state makes none.
    made: Cell<u64>,
}

impl Pool {
    /// Buffers of `bytes` capacity, of which at most `kept` lie free.
    pub fn new(bytes: usize, kept: usize) -> Pool {
        let free = RefCell::new(Vec::with_capacity(kept.min(64)));
        Pool { free, bytes, kept, least: Cell::new(0), made: Cell::new(0) }
    }

    /// An empty buffer with at least the capacity of the class.
    pub fn take(&self) -> Vec<u8> {
        let mut free = self.free.borrow_mut();
        let taken = free.pop();
        self.least.set(self.least.get().min(free.len()));
        taken.unwrap_or_else(|| {
            let batch = (BATCH_BYTES / self.bytes).clamp(1, self.kept.max(1));
            let made = self.made.get() as usize;
            self.made.set((made + batch) as u64);
            let coloured = |at: usize| Vec::with_capacity(self.bytes + at % COLOURS * COLOUR_BYTES);
            free.extend((made + 1..made + batch).map(coloured));
            coloured(made)
        })
    }

    /// Gives a buffer back. One that has grown past its class is freed instead, or a burst of large heads would stay; grown
    /// once, as where a head is put before a full read of its body, is not past it.
    pub fn put(&self, mut buf: Vec<u8>) {
        let mut free = self.free.borrow_mut();
        let most = (self.bytes + COLOURS * COLOUR_BYTES) * 2;
        if (self.bytes..=most).contains(&buf.capacity()) && free.len() < self.kept {
            buf.clear();
            free.push(buf);
        }
    }

    /// Frees what nobody has needed since the last call, the coldest first; how many bytes that was.
    pub fn trim(&self) -> usize {
        let mut free = self.free.borrow_mut();
        let surplus = self.least.get().min(free.len());
        free.drain(..surplus);
        self.least.set(free.len());
        surplus * self.bytes
    }

    /// Capacity of the class, bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many buffers were made so far.
    pub fn made(&self) -> u64 {
        self.made.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_and_the_list_is_bounded() {
        let pool = Pool::new(1024, 2);
        let mut bufs: Vec<_> = (0..3).map(|_| pool.take()).collect();
        bufs[0].extend_from_slice(b"secret");
        bufs.into_iter().for_each(|buf| pool.put(buf));
        assert_eq!(pool.free.borrow().len(), 2);
        assert!(pool.take().is_empty());
        let mut grown = pool.take();
        grown.reserve(100_000);
        pool.put(grown);
        assert_eq!(pool.free.borrow().len(), 0);
        assert!(pool.made() <= 4);
    }

    #[test]
    fn what_is_not_needed_is_freed_and_what_is_stays() {
        let pool = Pool::new(1024, 8);
        let bufs: Vec<_> = (0..6).map(|_| pool.take()).collect();
        bufs.into_iter().for_each(|buf| pool.put(buf));
        assert_eq!(pool.trim(), 0, "all were in use a moment ago");
        let (a, b) = (pool.take(), pool.take());
        pool.put(a);
        pool.put(b);
        assert_eq!(pool.trim(), 6 * 1024);
        assert_eq!(pool.free.borrow().len(), 2);
        assert_eq!((pool.trim(), pool.trim()), (2 * 1024, 0));
    }
}

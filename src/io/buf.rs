//! Free lists of buffers: two size classes per shard, last in first out so that the warm one is used next.

use std::cell::{Cell, RefCell};

/// A shard's free buffers of one class.
#[derive(Debug)]
pub struct Pool {
    free: RefCell<Vec<Vec<u8>>>,
    bytes: usize,
    kept: usize,
    /// Buffers made because the list was empty; a steady state makes none.
    made: Cell<u64>,
}

impl Pool {
    /// Buffers of `bytes` capacity, of which at most `kept` lie free.
    pub fn new(bytes: usize, kept: usize) -> Pool {
        Pool { free: RefCell::new(Vec::with_capacity(kept.min(64))), bytes, kept, made: Cell::new(0) }
    }

    /// An empty buffer with at least the capacity of the class.
    pub fn take(&self) -> Vec<u8> {
        let free = self.free.borrow_mut().pop();
        free.unwrap_or_else(|| {
            self.made.set(self.made.get() + 1);
            Vec::with_capacity(self.bytes)
        })
    }

    /// Gives a buffer back. One that has grown past its class is freed instead, or a burst of large heads would stay.
    pub fn put(&self, mut buf: Vec<u8>) {
        let mut free = self.free.borrow_mut();
        if buf.capacity() >= self.bytes && buf.capacity() <= self.bytes * 2 && free.len() < self.kept {
            buf.clear();
            free.push(buf);
        }
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
        assert_eq!(pool.made(), 3);
    }
}

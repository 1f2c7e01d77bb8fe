//! Finding the bytes that end something, many at a time. The only file of this room with `unsafe`: vector loads.
//!
//! Three questions are asked of a head: where is the next control byte (the end of a line, or a fault), where does a name
//! end, and where does a target end. Each has three answers that must agree: AVX2 (found at run time, once), SSE2 (always
//! there on x86-64) and a scalar table everywhere else. The property test below holds them together.
#![expect(unsafe_code, reason = "vector intrinsics; the scalar twin `Table` is the definition")]

/// Bytes of one block of [`Scan::controls`].
pub(super) const BLOCK: usize = 64;

/// The three questions. Implementors are zero-sized proofs that their instructions exist.
pub(super) trait Scan: Copy {
    /// Bit `i` is set when byte `i` is a control byte: below 0x20 except HTAB, or DEL.
    fn controls(self, block: &[u8; BLOCK]) -> u64;

    /// Index of the first byte at or after `from` that is no token character; `buf.len()` when there is none.
    fn token_end(self, buf: &[u8], from: usize) -> usize;

    /// Index of the first byte at or after `from` that is SP, a control byte (HTAB too) or DEL; `buf.len()` when none.
    fn target_end(self, buf: &[u8], from: usize) -> usize;
}

/// The scalar twin: a table, one byte at a time.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[derive(Clone, Copy)]
pub(super) struct Table;

const TOKEN: u8 = 1;
const CONTROL: u8 = 2;
const TARGET: u8 = 4;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut i = 0;
    while i < 256 {
        let byte = i as u8;
        let mark = matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        );
        if byte.is_ascii_alphanumeric() || mark {
            classes[i] |= TOKEN;
        }
        if (byte < 0x20 && byte != b'\t') || byte == 0x7f {
            classes[i] |= CONTROL;
        }
        if byte > 0x20 && byte != 0x7f {
            classes[i] |= TARGET;
        }
        i += 1;
    }
    classes
}

/// RFC 9110 §5.6.2: one character of a token.
#[inline(always)]
pub(super) fn is_token(byte: u8) -> bool {
    CLASSES[byte as usize] & TOKEN != 0
}

/// A control byte that may not stand in a field value.
#[inline(always)]
pub(super) fn is_control(byte: u8) -> bool {
    CLASSES[byte as usize] & CONTROL != 0
}

/// First index at or after `from` whose byte lacks `class`.
#[inline]
fn end_of(class: u8, buf: &[u8], from: usize) -> usize {
    let mut at = from;
    while at < buf.len() && CLASSES[buf[at] as usize] & class != 0 {
        at += 1;
    }
    at
}

#[cfg(any(test, not(target_arch = "x86_64")))]
impl Scan for Table {
    #[inline]
    fn controls(self, block: &[u8; BLOCK]) -> u64 {
        let mut bits = 0;
        for (i, &byte) in block.iter().enumerate() {
            bits |= u64::from(is_control(byte)) << i;
        }
        bits
    }

    #[inline]
    fn token_end(self, buf: &[u8], from: usize) -> usize {
        end_of(TOKEN, buf, from)
    }

    #[inline]
    fn target_end(self, buf: &[u8], from: usize) -> usize {
        end_of(TARGET, buf, from)
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{avx2, Sse2};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{end_of, Scan, BLOCK, TARGET, TOKEN};
    use std::arch::x86_64::*;

    /// Sixteen bytes at a time, with what every x86-64 has.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Sse2;

    /// Thirty-two bytes at a time. A value of it proves that the CPU has AVX2: only [`avx2`] makes one.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx2(());

    /// The proof, when this CPU has AVX2. The detection is cached by std: one relaxed load.
    #[inline(always)]
    pub(in super::super) fn avx2() -> Option<Avx2> {
        if cfg!(target_feature = "avx2") || std::is_x86_feature_detected!("avx2") {
            Some(Avx2(()))
        } else {
            None
        }
    }

    #[inline(always)]
    fn load16(buf: &[u8; 16]) -> __m128i {
        // SAFETY: the reference is valid for 16 bytes, and loadu asks for no alignment. SSE2 is part of x86-64.
        unsafe { _mm_loadu_si128(buf.as_ptr().cast()) }
    }

    #[inline(always)]
    fn controls16(bytes: __m128i) -> u32 {
        // SAFETY: SSE2 is part of x86-64; no memory is touched.
        unsafe {
            let low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
            let tab = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(9));
            let del = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
            _mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, low), del)) as u32
        }
    }

    /// Letters, digits, `-` and `_`: nearly all of every token. What else a token may hold is left to the table.
    #[inline(always)]
    fn plain16(bytes: __m128i) -> u32 {
        // SAFETY: SSE2 is part of x86-64; no memory is touched.
        unsafe {
            let within = |bytes: __m128i, first: u8, count: u8| {
                let from = _mm_sub_epi8(bytes, _mm_set1_epi8(first as i8));
                _mm_cmpeq_epi8(_mm_min_epu8(from, _mm_set1_epi8(count as i8 - 1)), from)
            };
            let letter = within(_mm_or_si128(bytes, _mm_set1_epi8(0x20)), b'a', 26);
            let digit = within(bytes, b'0', 10);
            let dash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'-' as i8));
            let line = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'_' as i8));
            _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(letter, digit), _mm_or_si128(dash, line))) as u32
        }
    }

    #[inline(always)]
    fn blank16(bytes: __m128i) -> u32 {
        // SAFETY: SSE2 is part of x86-64; no memory is touched.
        unsafe {
            let low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x20)), bytes);
            let del = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
            _mm_movemask_epi8(_mm_or_si128(low, del)) as u32
        }
    }

    impl Scan for Sse2 {
        #[inline(always)]
        fn controls(self, block: &[u8; BLOCK]) -> u64 {
            let (quarters, _) = block.as_chunks::<16>();
            let mut bits = 0;
            for (i, quarter) in quarters.iter().enumerate() {
                bits |= u64::from(controls16(load16(quarter))) << (16 * i);
            }
            bits
        }

        #[inline(always)]
        fn token_end(self, buf: &[u8], from: usize) -> usize {
            let mut at = from;
            while let Some(bytes) = buf[at..].first_chunk::<16>() {
                let stops = !plain16(load16(bytes)) & 0xffff;
                if stops == 0 {
                    at += 16;
                    continue;
                }
                at += stops.trailing_zeros() as usize;
                if !super::is_token(buf[at]) {
                    return at;
                }
                at += 1;
            }
            end_of(TOKEN, buf, at)
        }

        #[inline(always)]
        fn target_end(self, buf: &[u8], from: usize) -> usize {
            let mut at = from;
            while let Some(bytes) = buf[at..].first_chunk::<16>() {
                let stops = blank16(load16(bytes));
                if stops != 0 {
                    return at + stops.trailing_zeros() as usize;
                }
                at += 16;
            }
            end_of(TARGET, buf, at)
        }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn load32(buf: &[u8; 32]) -> __m256i {
        // SAFETY: the reference is valid for 32 bytes, and loadu asks for no alignment.
        unsafe { _mm256_loadu_si256(buf.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn controls64(block: &[u8; BLOCK]) -> u64 {
        let half = |bytes: &[u8; 32]| {
            let bytes = load32(bytes);
            let low = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1f)), bytes);
            let tab = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(9));
            let del = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(0x7f));
            _mm256_movemask_epi8(_mm256_or_si256(_mm256_andnot_si256(tab, low), del)) as u32
        };
        let (halves, _) = block.as_chunks::<32>();
        u64::from(half(&halves[0])) | u64::from(half(&halves[1])) << 32
    }

    /// Bit `i` is set when byte `i` is no token character. One table lookup per nibble: the low nibble says in which of
    /// the rows 2 to 7 of the ASCII table it is a token character, the high nibble which row it is; they must share a bit.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn not_token32(bytes: &[u8; 32]) -> u32 {
        let bytes = load32(bytes);
        let nibble = _mm256_set1_epi8(15);
        let low = _mm256_and_si256(bytes, nibble);
        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), nibble);
        let rows = _mm256_shuffle_epi8(load32(&LOW_NIBBLES), low);
        let row = _mm256_shuffle_epi8(load32(&HIGH_NIBBLES), high);
        let shared = _mm256_and_si256(rows, row);
        _mm256_movemask_epi8(_mm256_cmpeq_epi8(shared, _mm256_setzero_si256())) as u32
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn blank32(bytes: &[u8; 32]) -> u32 {
        let bytes = load32(bytes);
        let low = _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x20)), bytes);
        let del = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(0x7f));
        _mm256_movemask_epi8(_mm256_or_si256(low, del)) as u32
    }

    /// Twice the same 16 bytes: the shuffle works on each half by itself.
    static LOW_NIBBLES: [u8; 32] = {
        let mut table = [0; 32];
        let mut byte = 0x20;
        while byte < 0x80 {
            if super::CLASSES_AT_COMPILE_TIME[byte] & TOKEN != 0 {
                table[byte & 15] |= 1 << ((byte >> 4) - 2);
                table[16 + (byte & 15)] = table[byte & 15];
            }
            byte += 1;
        }
        table
    };

    static HIGH_NIBBLES: [u8; 32] = {
        let mut table = [0; 32];
        let mut row = 2;
        while row < 8 {
            table[row] = 1 << (row - 2);
            table[16 + row] = 1 << (row - 2);
            row += 1;
        }
        table
    };

    impl Scan for Avx2 {
        #[inline(always)]
        fn controls(self, block: &[u8; BLOCK]) -> u64 {
            // SAFETY: `self` proves AVX2.
            unsafe { controls64(block) }
        }

        #[inline(always)]
        fn token_end(self, buf: &[u8], from: usize) -> usize {
            let mut at = from;
            while let Some(bytes) = buf[at..].first_chunk::<32>() {
                // SAFETY: `self` proves AVX2.
                let stops = unsafe { not_token32(bytes) };
                if stops != 0 {
                    return at + stops.trailing_zeros() as usize;
                }
                at += 32;
            }
            // Fewer than 32 bytes are left: look at the last 32 of the buffer, and away from those before `at`.
            let Some(bytes) = buf.last_chunk::<32>() else { return end_of(TOKEN, buf, at) };
            let before = at + 32 - buf.len();
            // SAFETY: `self` proves AVX2.
            let stops = u64::from(unsafe { not_token32(bytes) }) >> before;
            if stops != 0 {
                at + stops.trailing_zeros() as usize
            } else {
                buf.len()
            }
        }

        #[inline(always)]
        fn target_end(self, buf: &[u8], from: usize) -> usize {
            let mut at = from;
            while let Some(bytes) = buf[at..].first_chunk::<32>() {
                // SAFETY: `self` proves AVX2.
                let stops = unsafe { blank32(bytes) };
                if stops != 0 {
                    return at + stops.trailing_zeros() as usize;
                }
                at += 32;
            }
            end_of(TARGET, buf, at)
        }
    }
}

/// [`CLASSES`] again: a constant may not read a static.
#[cfg(target_arch = "x86_64")]
const CLASSES_AT_COMPILE_TIME: [u8; 256] = classes();

/// Walks the control bytes of a buffer in order; every block is looked at once.
pub(super) struct Controls<'a, S> {
    scan: S,
    buf: &'a [u8],
    /// Where the block of `bits` begins.
    base: usize,
    /// Control bytes of the block at `base`; none beyond the buffer's end.
    bits: u64,
}

impl<'a, S: Scan> Controls<'a, S> {
    /// Begins at `from`, which is at most `buf.len()`.
    #[inline(always)]
    pub(super) fn new(scan: S, buf: &'a [u8], from: usize) -> Self {
        let mut controls = Controls { scan, buf, base: from, bits: 0 };
        controls.bits = controls.load(from);
        controls
    }

    /// The next control byte at or after `from`, or the buffer's length. `from` must not go backwards between calls.
    #[inline(always)]
    pub(super) fn next(&mut self, from: usize) -> usize {
        let mut from = from;
        loop {
            let skip = from - self.base;
            if skip < BLOCK {
                let bits = self.bits >> skip;
                if bits != 0 {
                    return from + bits.trailing_zeros() as usize;
                }
            }
            self.base += BLOCK;
            if self.base >= self.buf.len() {
                self.base -= BLOCK;
                return self.buf.len();
            }
            self.bits = self.load(self.base);
            from = from.max(self.base);
        }
    }

    #[inline(always)]
    fn load(&self, base: usize) -> u64 {
        if let Some(block) = self.buf[base..].first_chunk::<BLOCK>() {
            return self.scan.controls(block);
        }
        let left = self.buf.len() - base;
        if let Some(block) = self.buf.last_chunk::<BLOCK>() {
            // The last block overlaps the one before; the shift drops what was seen already. `left` is below 64.
            return if left == 0 { 0 } else { self.scan.controls(block) >> (BLOCK - left) };
        }
        let mut block = [b' '; BLOCK];
        block[..left].copy_from_slice(&self.buf[base..]);
        self.scan.controls(&block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Everything a scanner says about `bytes`, from every offset of interest.
    fn answers(scan: impl Scan, bytes: &[u8], from: usize) -> (usize, usize, Vec<usize>) {
        let mut controls = Controls::new(scan, bytes, from);
        let (mut found, mut at) = (Vec::new(), from);
        loop {
            at = controls.next(at);
            if at == bytes.len() {
                break;
            }
            found.push(at);
            at += 1;
            if at == bytes.len() {
                break;
            }
        }
        (scan.token_end(bytes, from), scan.target_end(bytes, from), found)
    }

    fn by_hand(bytes: &[u8], from: usize) -> (usize, usize, Vec<usize>) {
        let first = |wanted: fn(u8) -> bool| (from..bytes.len()).find(|&i| wanted(bytes[i])).unwrap_or(bytes.len());
        (
            first(|byte| !(byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))),
            first(|byte| byte <= 0x20 || byte == 0x7f),
            (from..bytes.len()).filter(|&i| bytes[i] == 0x7f || (bytes[i] < 0x20 && bytes[i] != 9)).collect(),
        )
    }

    fn check(bytes: &[u8], from: usize) {
        let want = by_hand(bytes, from);
        assert_eq!(answers(Table, bytes, from), want, "table, from {from}");
        #[cfg(target_arch = "x86_64")]
        {
            assert_eq!(answers(Sse2, bytes, from), want, "sse2, from {from}");
            if let Some(avx2) = avx2() {
                assert_eq!(answers(avx2, bytes, from), want, "avx2, from {from}");
            }
        }
    }

    #[test]
    fn every_byte_is_classed_the_same_by_all() {
        for byte in 0..=255u8 {
            for len in [1, 15, 16, 31, 32, 33, 63, 64, 65, 100, 130] {
                for at in [0, len / 2, len - 1] {
                    let mut bytes = vec![b'a'; len];
                    bytes[at] = byte;
                    check(&bytes, 0);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn the_vectors_agree_with_the_table(bytes in prop::collection::vec(any::<u8>(), 1..300), from in 0usize..300) {
            check(&bytes, from % bytes.len());
        }

        #[test]
        fn they_agree_on_long_runs_too(
            runs in prop::collection::vec((prop::sample::select(b"aZ09-_~:\r\n\t \x7f\x80\xff|".to_vec()), 0usize..90), 1..8),
            from in 0usize..300,
        ) {
            let bytes: Vec<u8> = runs.iter().flat_map(|&(byte, count)| std::iter::repeat_n(byte, count)).collect();
            if !bytes.is_empty() {
                check(&bytes, from % bytes.len());
            }
        }
    }
}

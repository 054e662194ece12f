//! Where an image has zeros for so long that the disk is better told than written to.

use super::blocks::ALIGNMENT;
use std::ops::Range;

/// A part of a block, and whether all of it is zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BlockRun {
    pub(super) range: Range<usize>,
    pub(super) is_zeros: bool,
}

/// Bytes that are looked at together.
const STRIDE: usize = 64 * 1024;

const _: () = assert!(STRIDE.is_multiple_of(ALIGNMENT));

/// The parts of a block in order. Zeros that are fewer than `zeros_min` in a row are part of what is written.
pub(super) fn runs(block: &[u8], zeros_min: usize) -> Vec<BlockRun> {
    let mut runs: Vec<BlockRun> = Vec::new();
    for (place, stride) in block.chunks(STRIDE).enumerate() {
        let start = place * STRIDE;
        push(&mut runs, start..start + stride.len(), are_zeros(stride));
    }
    let mut merged: Vec<BlockRun> = Vec::new();
    for run in runs {
        let is_zeros = run.is_zeros && run.range.len() >= zeros_min;
        push(&mut merged, run.range, is_zeros);
    }
    merged
}

fn push(runs: &mut Vec<BlockRun>, range: Range<usize>, is_zeros: bool) {
    match runs.last_mut() {
        Some(last) if last.is_zeros == is_zeros => last.range.end = range.end,
        _ => runs.push(BlockRun { range, is_zeros }),
    }
}

/// Whether there is nothing but zeros: 16 bytes at a time.
pub(super) fn are_zeros(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_in_a_long_row_are_told_from_what_is_written() {
        let mut block = vec![0; 16 * STRIDE + 100];
        block[3 * STRIDE] = 1;
        block[4 * STRIDE - 1] = 1;
        block[6 * STRIDE + 5] = 1;
        block[16 * STRIDE + 99] = 1;
        let run = |from: usize, to: usize, is_zeros| BlockRun {
            range: from..to,
            is_zeros,
        };
        assert_eq!(
            runs(&block, 3 * STRIDE),
            [
                run(0, 3 * STRIDE, true),
                run(3 * STRIDE, 7 * STRIDE, false),
                run(7 * STRIDE, 16 * STRIDE, true),
                run(16 * STRIDE, 16 * STRIDE + 100, false),
            ]
        );
        assert_eq!(runs(&block, usize::MAX), [run(0, block.len(), false)]);
        assert_eq!(runs(&[], 1), []);
    }

    #[test]
    fn one_bit_anywhere_is_no_zeros() {
        for length in [1, 15, 16, 17, 4096, 4097] {
            let mut bytes = vec![0; length];
            assert!(are_zeros(&bytes));
            for place in [0, length / 2, length - 1] {
                bytes[place] = 0x80;
                assert!(!are_zeros(&bytes), "{place} of {length}");
                bytes[place] = 0;
            }
        }
    }
}

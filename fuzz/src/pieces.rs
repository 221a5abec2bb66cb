//! Inputs that are made of pieces, so that a few bytes can say "this bracket, 200 000 times".

/// The first byte of such an input. No UTF-8 text begins with it, so every text stands for itself.
pub const MARK: u8 = 0xff;
/// How often a piece can stand: around every limit that there is.
const COUNTS: [usize; 24] = [
    1, 2, 3, 4, 7, 8, 16, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 1_000, 1_023, 1_024, 1_025, 20_000, 65_536,
    200_000,
];
/// What is longer is cut off.
const BYTES_MAX: usize = 2 << 20;

/// The text that the input stands for: itself, or pairs of a piece (its number in `pieces`) and how often it stands.
pub fn unfold(bytes: &[u8], pieces: &[&str]) -> Vec<u8> {
    let Some((&MARK, pairs)) = bytes.split_first() else { return bytes.to_vec() };
    let mut text = Vec::new();
    for pair in pairs.chunks_exact(2) {
        let piece = pieces[usize::from(pair[0]) % pieces.len()];
        let room = (BYTES_MAX - text.len()) / piece.len();
        text.extend_from_slice(piece.repeat(COUNTS[usize::from(pair[1]) % COUNTS.len()].min(room)).as_bytes());
    }
    text
}

/// Draws from the input's bytes; zeros when they are used up.
pub struct Draw<'a>(pub &'a [u8]);

impl Draw<'_> {
    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % limit
    }

    /// One of `all`.
    pub fn one<'b, T: ?Sized>(&mut self, all: &[&'b T]) -> &'b T {
        all[self.below(all.len())]
    }

    /// Is there nothing left to draw from?
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}

//! "Did you mean …?"

/// Finds the known name that is nearest to a wrong one. Does a bounded amount of work over its whole life, so that a
/// document with ten thousand wrong names is still answered at once.
pub(crate) struct Nearest {
    comparisons_left: usize,
}

impl Default for Nearest {
    fn default() -> Self {
        Self { comparisons_left: 200_000 }
    }
}

impl Nearest {
    /// The nearest of `known`, if one is near enough to be meant.
    pub(crate) fn of<'k>(&mut self, wrong: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
        // Of two letters any other two are near.
        let allowed = match wrong.chars().count() {
            0..3 => 0,
            length => (length / 3).min(4),
        };
        let mut best: Option<(usize, &str)> = None;
        if wrong.len() > 128 {
            return None;
        }
        for name in known {
            if self.comparisons_left == 0 {
                break;
            }
            self.comparisons_left -= 1;
            if name.eq_ignore_ascii_case(wrong) {
                return Some(name);
            }
            if name.len().abs_diff(wrong.len()) > allowed * 4 || name.len() > 128 {
                continue;
            }
            let distance = strsim::osa_distance(&wrong.to_ascii_lowercase(), &name.to_ascii_lowercase());
            if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
                best = Some((distance, name));
            }
        }
        best.map(|(_, name)| name)
    }

    /// As a help text: ``did you mean `x`?``
    pub(crate) fn help<'k>(&mut self, wrong: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
        self.of(wrong, known).map(|name| format!("did you mean `{name}`?"))
    }
}

//! A text that matches a regular expression.

use regex_syntax::{
    ParserBuilder,
    hir::{Class, Hir, HirKind},
};

use super::schema::{Fuel, Unsatisfiable};

/// How often something that may be repeated is repeated, at most.
const REPEATS_MAX: u32 = 256;

/// A text of `chars_min` to `chars_max` characters that matches `pattern`.
///
/// Look-around does not exist in this dialect of regular expressions: it is left out, which most texts survive.
pub(super) fn matching(
    pattern: &str,
    chars_min: usize,
    chars_max: usize,
    nth: usize,
    fuel: &mut Fuel,
) -> Result<String, Unsatisfiable> {
    let parsed = ParserBuilder::new().nest_limit(64).build().parse(&without_lookaround(pattern));
    let hir = parsed.map_err(|_| Unsatisfiable::new(format!("the pattern `{pattern}` is not understood")))?;
    // One of everything looks most natural; then as few as allowed; then more and more.
    for repeats in [1, 0].into_iter().chain(2..=REPEATS_MAX) {
        let mut text = String::new();
        let mut writer = Writer { repeats, nth, fuel, chars_max };
        if writer.write(&hir, &mut text)? && (chars_min..=chars_max).contains(&text.chars().count()) {
            return Ok(text);
        }
    }
    Err(Unsatisfiable::new(format!("no text of the wanted length was found for the pattern `{pattern}`")))
}

struct Writer<'a> {
    repeats: u32,
    nth: usize,
    fuel: &'a mut Fuel,
    chars_max: usize,
}

impl Writer<'_> {
    /// Appends a match of `hir`. `false`: there is none (an empty class), or it is too long.
    fn write(&mut self, hir: &Hir, text: &mut String) -> Result<bool, Unsatisfiable> {
        self.fuel.burn(1)?;
        if text.len() / 4 > self.chars_max {
            return Ok(false);
        }
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => Ok(true),
            HirKind::Literal(literal) => {
                self.fuel.burn(literal.0.len())?;
                text.push_str(&String::from_utf8_lossy(&literal.0));
                Ok(true)
            }
            HirKind::Class(class) => {
                let character = choose(class, self.nth);
                text.extend(character);
                Ok(character.is_some())
            }
            HirKind::Capture(capture) => self.write(&capture.sub, text),
            HirKind::Repetition(repetition) => {
                let times = self.repeats.max(repetition.min).min(repetition.max.unwrap_or(u32::MAX));
                for _ in 0..times {
                    if !self.write(&repetition.sub, text)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            HirKind::Concat(parts) => {
                for part in parts {
                    if !self.write(part, text)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            HirKind::Alternation(alternatives) => {
                let chosen = self.nth % alternatives.len();
                self.write(&alternatives[chosen], text)
            }
        }
    }
}

/// A character of the class: a letter or a digit where it holds one.
fn choose(class: &Class, nth: usize) -> Option<char> {
    let ranges: Vec<(char, char)> = match class {
        Class::Unicode(class) => class.iter().map(|range| (range.start(), range.end())).collect(),
        Class::Bytes(class) => class.iter().map(|range| (char::from(range.start()), char::from(range.end()))).collect(),
    };
    let holds = |character: &char| ranges.iter().any(|(start, end)| (start..=end).contains(&character));
    let plain = ('a'..='z').chain('0'..='9').chain('A'..='Z').filter(holds).collect::<Vec<_>>();
    if plain.is_empty() { ranges.first().map(|(start, _)| *start) } else { Some(plain[nth % plain.len()]) }
}

/// `pattern` without `(?=…)`, `(?!…)`, `(?<=…)` and `(?<!…)`.
fn without_lookaround(pattern: &str) -> String {
    let mut kept = String::new();
    let mut rest = pattern;
    while let Some(character) = rest.chars().next() {
        let group = ["(?=", "(?!", "(?<=", "(?<!"].iter().find(|start| rest.starts_with(**start));
        let taken = match group {
            Some(_) => group_len(rest),
            // What is escaped is no bracket.
            None if character == '\\' => {
                let len = rest.chars().take(2).map(char::len_utf8).sum();
                kept.push_str(&rest[..len]);
                len
            }
            None => {
                kept.push(character);
                character.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    kept
}

/// Bytes of the group that `text` begins with, up to its closing bracket.
fn group_len(text: &str) -> usize {
    let (mut depth, mut escaped) = (0_u32, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '(' => depth += 1,
            ')' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(pattern: &str, chars_min: usize, chars_max: usize, nth: usize) -> Result<String, Unsatisfiable> {
        matching(pattern, chars_min, chars_max, nth, &mut Fuel::full())
    }

    #[test]
    fn texts_match_their_pattern() {
        for (pattern, expected) in [
            (r"^\d{4}-\d{2}-\d{2}$", "0000-00-00"),
            (r"^[A-Z]{3}$", "AAA"),
            (r"^(red|green)$", "red"),
            (r"^https?:\/\/[^\s]+$", "https://a"),
            (r"^(?!x$)[a-z]+\.?$", "a."),
            (r"^[+\-]?\d*$", "+0"),
            ("", ""),
        ] {
            assert_eq!(text(pattern, 0, usize::MAX, 0).expect(pattern), expected, "{pattern}");
        }
        assert_eq!(text("^(red|green)$", 0, 9, 1).expect("two colours"), "green");
    }

    #[test]
    fn lengths_are_kept() {
        assert_eq!(text("^[a-z]+$", 5, 9, 0).expect("five letters"), "aaaaa");
        assert_eq!(text("^a*$", 0, 0, 0).expect("nothing at all"), "");
        assert!(text("^abc$", 4, 9, 0).is_err());
    }

    #[test]
    fn no_pattern_takes_forever() {
        for pattern in ["(a{1000}){1000}", "((a*)*)*", "[", "(?=", "(?!(", "\\", "a{99999999}"] {
            let _ = text(pattern, 9999, 99999, 0);
        }
    }
}

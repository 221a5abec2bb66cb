//! Small helpers for diagnostics: JSON Pointers and the nearest name.

/// A JSON Pointer (RFC 6901) of these keys and indices.
pub fn pointer<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    parts.fold(String::new(), |pointer, part| pointer + "/" + &part.replace('~', "~0").replace('/', "~1"))
}

/// The name that is most like `text`, if one is like it.
pub fn nearest<'a>(text: &str, names: &[&'a str]) -> Option<&'a str> {
    let best = names.iter().map(|name| (strsim::damerau_levenshtein(text, name), *name)).min()?;
    (best.0 <= 1 + text.len() / 4).then_some(best.1)
}

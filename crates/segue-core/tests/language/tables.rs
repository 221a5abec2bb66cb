//! The tables of a Markdown page.

use std::{collections::BTreeMap, fs, path::Path};

/// A table: its header, and its rows by the text of their first cells.
pub struct Table {
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// A page of `docs/reference`, by heading: the first table under each.
pub fn of_page(name: &str) -> BTreeMap<String, Table> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(name);
    let text = fs::read_to_string(path).unwrap();
    let mut tables = BTreeMap::new();
    for section in text.split("\n## ").skip(1) {
        let (heading, body) = section.split_once('\n').unwrap();
        let mut lines = body.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
        let Some(header) = lines.next() else { continue };
        let rows = lines.skip(1).map(cells).collect();
        tables.insert(heading.trim().to_owned(), Table { header: cells(header), rows });
    }
    tables
}

fn cells(line: &str) -> Vec<String> {
    let line = line.trim().trim_start_matches('|').trim_end_matches('|');
    line.split(" | ").map(|cell| cell.trim().replace('`', "")).collect()
}

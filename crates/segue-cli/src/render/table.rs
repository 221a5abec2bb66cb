//! Columns of plain text.

/// A cell: what is printed, and how wide it looks.
pub(crate) struct Cell {
    text: String,
    width: usize,
}

impl Cell {
    /// Plain text.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { width: text.chars().count(), text }
    }

    /// Coloured text that looks as wide as `plain`.
    pub(crate) fn painted(text: String, plain: &str) -> Self {
        Self { text, width: plain.chars().count() }
    }
}

/// The rows, each column as wide as its widest cell, two spaces between.
pub(crate) fn table<const N: usize>(rows: &[[Cell; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|at| rows.iter().map(|row| row[at].width).max().unwrap_or(0));
    let line = |row: &[Cell; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| cell.text.clone() + &" ".repeat(width - cell.width));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [
            [Cell::new("RUN"), Cell::new("STATUS"), Cell::new("TOOK")],
            [Cell::new("0199"), Cell::painted("\x1b[31mFAILED\x1b[0m".to_owned(), "FAILED"), Cell::new("")],
        ];
        assert_eq!(table(&rows), "RUN   STATUS  TOOK\n0199  \x1b[31mFAILED\x1b[0m");
    }
}

//! Rows of text in columns.

use std::io::{self, Write};

/// Prints rows in columns as wide as they have to be: `words` from the left, after them numbers from the right.
pub(super) fn print<const COLUMNS: usize>(
    out: &mut impl Write,
    words: usize,
    heading: [&str; COLUMNS],
    rows: &[[String; COLUMNS]],
) -> io::Result<()> {
    let heading = heading.map(str::to_owned);
    let all = || std::iter::once(&heading).chain(rows);
    let widths: Vec<usize> =
        (0..COLUMNS).map(|column| all().map(|row| row[column].chars().count()).max().unwrap_or_default()).collect();
    for row in all() {
        let mut line = String::new();
        for (column, (text, &width)) in row.iter().zip(&widths).enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            let padded = if column < words { format!("{gap}{text:<width$}") } else { format!("{gap}{text:>width$}") };
            line.push_str(&padded);
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_have_to_be() {
        let mut out = Vec::new();
        let rows = [["a long one".to_owned(), "7".to_owned()], ["b".to_owned(), "1234".to_owned()]];
        print(&mut out, 1, ["what", "kept"], &rows).expect("printed");
        assert_eq!(String::from_utf8(out).expect("text"), "what        kept\na long one     7\nb           1234\n");
    }
}

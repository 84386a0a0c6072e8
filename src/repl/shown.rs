//! Lua values for people: short ones in a line, lists of records as a table, others with one key to a line. Pure.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::lua;
use crate::report::style::{Look, Tone};
use crate::script::prompt::Shown;

/// Returns the value as lines without a line end at the end, as wide as `look` says where that can be.
pub(super) fn render(value: &Shown, look: Look) -> String {
    match value {
        Shown::Text(text, bytes) if text.contains('\n') => long_text(text, *bytes, look),
        _ => Layout { look }.value(value, 0, look.width.max(MIN_WIDTH)).join("\n"),
    }
}

/// Returns the value in one line of at most so many columns.
pub(super) fn in_a_line(value: &Shown, columns: usize, look: Look) -> String {
    let layout = Layout { look };
    match layout.inline(value, columns) {
        Some(piece) => piece.text,
        None => match value {
            Shown::Text(text, bytes) => layout.text(text, *bytes, columns).text,
            Shown::List(items, more) => format!("{{ {} items }}", items.len() + more),
            Shown::Record(fields, more) => {
                let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
                let rest = if *more > 0 { ", …" } else { "" };
                cut(&format!("{{ {}{rest} }}", names.join(", ")), columns)
            }
            other => cut(&plain(other), columns),
        },
    }
}

/// Text and how many columns it takes: its colours take none.
struct Piece {
    text: String,
    columns: usize,
}

struct Layout {
    look: Look,
}

impl Layout {
    /// The lines of a value that begins behind `column` columns, its further lines indented by as many as it began.
    fn value(&self, value: &Shown, indent: usize, room: usize) -> Vec<String> {
        if let Some(piece) = self.inline(value, room) {
            return vec![piece.text];
        }
        match value {
            Shown::List(items, more) if indent < DEEPEST => {
                self.table(items, *more, room).unwrap_or_else(|| {
                    self.nested(items.iter().map(|item| (None, item)), items.len(), *more, indent, room)
                })
            }
            Shown::Record(fields, more) if indent < DEEPEST => {
                let items = fields.iter().map(|(name, field)| (Some(name.as_str()), field));
                self.nested(items, fields.len(), *more, indent, room)
            }
            Shown::List(items, more) => vec![format!("{{ {} items }}", items.len() + more)],
            Shown::Record(fields, more) => vec![format!("{{ {} keys }}", fields.len() + more)],
            // Nothing is around it that a long line could spoil.
            Shown::Text(text, bytes) if indent == 0 => vec![self.text(text, *bytes, usize::MAX).text],
            Shown::Text(text, bytes) => vec![self.text(text, *bytes, room).text],
            other => vec![self.scalar(other).text],
        }
    }

    /// One item to a line, between braces.
    fn nested<'a>(
        &self,
        items: impl Iterator<Item = (Option<&'a str>, &'a Shown)>,
        count: usize,
        more: usize,
        indent: usize,
        room: usize,
    ) -> Vec<String> {
        let mut lines = vec!["{".to_owned()];
        for (name, item) in items.take(MOST_ITEMS) {
            let head = name.map(|name| self.key(name));
            let used = head.as_ref().map_or(0, |head| head.columns + 3) + STEP + 1;
            let mut item = self.value(item, indent + 1, room.saturating_sub(used).max(MIN_WIDTH / 2));
            // A table has lines of its own, which neither a key nor a comma may push out of their columns.
            let is_table = item.len() > 1 && !item[0].starts_with('{');
            match head {
                Some(head) if is_table => {
                    item.iter_mut().for_each(|line| line.insert_str(0, &" ".repeat(STEP)));
                    item.insert(0, format!("{} =", head.text));
                }
                Some(head) => item[0].insert_str(0, &format!("{} = ", head.text)),
                None => {}
            }
            if let Some(last) = item.last_mut().filter(|_| !is_table) {
                last.push(',');
            }
            lines.extend(item.into_iter().map(|line| format!("{}{line}", " ".repeat(STEP))));
        }
        let left_out = count.saturating_sub(MOST_ITEMS) + more;
        if left_out > 0 {
            lines.push(format!("{}{}", " ".repeat(STEP), self.more(left_out)));
        }
        lines.push("}".to_owned());
        lines
    }

    /// A list of records as a table with a line for each, if all of them fit.
    fn table(&self, items: &[Shown], more: usize, room: usize) -> Option<Vec<String>> {
        let records: Vec<&Vec<(String, Shown)>> = items
            .iter()
            .map(|item| match item {
                Shown::Record(fields, 0) if !fields.is_empty() => Some(fields),
                _ => None,
            })
            .collect::<Option<_>>()?;
        if records.len() < 2 {
            return None;
        }
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in records.iter().flat_map(|fields| fields.iter()) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names.sort_unstable();
        if names.len() > MOST_COLUMNS {
            return None;
        }
        let shown = &records[..records.len().min(MOST_ROWS)];
        let heads = names
            .iter()
            .map(|name| Piece { columns: name.width(), text: self.look.paint(Tone::Place, name) });
        let number = Piece { columns: 1, text: self.look.paint(Tone::Faint, "#") };
        let mut rows: Vec<Vec<Piece>> = vec![std::iter::once(number).chain(heads).collect()];
        for (index, fields) in shown.iter().enumerate() {
            let number = (index + 1).to_string();
            let mut row = vec![Piece { columns: number.width(), text: self.look.paint(Tone::Faint, number) }];
            for name in &names {
                let field = fields.iter().find(|(known, _)| known == name);
                row.push(match field {
                    Some((_, field)) => self.inline(field, room)?,
                    None => Piece { text: String::new(), columns: 0 },
                });
            }
            rows.push(row);
        }
        let widths: Vec<usize> = (0..=names.len())
            .map(|column| rows.iter().map(|row| row[column].columns).max().unwrap_or(0))
            .collect();
        if widths.iter().sum::<usize>() + 2 * names.len() > room {
            return None;
        }
        let mut lines: Vec<String> = rows
            .iter()
            .map(|row| {
                let cells = row.iter().zip(&widths).map(|(cell, width)| {
                    format!("{}{}", cell.text, " ".repeat(width.saturating_sub(cell.columns) + 2))
                });
                cells.collect::<String>().trim_end().to_owned()
            })
            .collect();
        let left_out = records.len().saturating_sub(MOST_ROWS) + more;
        if left_out > 0 {
            lines.push(self.more(left_out));
        }
        Some(lines)
    }

    /// The value in a line, if that takes no more than `room` columns.
    fn inline(&self, value: &Shown, room: usize) -> Option<Piece> {
        let piece = match value {
            Shown::List(items, 0) if items.is_empty() => Piece { text: "{}".to_owned(), columns: 2 },
            Shown::Record(fields, 0) if fields.is_empty() => Piece { text: "{}".to_owned(), columns: 2 },
            Shown::List(items, more) => {
                self.braces(items.iter().map(|item| (None, item)), items.len(), *more, room)?
            }
            Shown::Record(fields, more) => {
                let items = fields.iter().map(|(name, field)| (Some(name.as_str()), field));
                self.braces(items, fields.len(), *more, room)?
            }
            Shown::Text(text, bytes) => self.text(text, *bytes, usize::MAX),
            other => self.scalar(other),
        };
        (piece.columns <= room).then_some(piece)
    }

    fn braces<'a>(
        &self,
        items: impl Iterator<Item = (Option<&'a str>, &'a Shown)>,
        count: usize,
        more: usize,
        room: usize,
    ) -> Option<Piece> {
        // Even single characters would not fit.
        if count.saturating_mul(3) > room {
            return None;
        }
        let mut whole = Piece { text: "{ ".to_owned(), columns: 4 };
        for (index, (name, item)) in items.enumerate() {
            if index > 0 {
                whole.text.push_str(", ");
                whole.columns += 2;
            }
            if let Some(name) = name {
                let key = self.key(name);
                whole.text.push_str(&key.text);
                whole.text.push_str(" = ");
                whole.columns += key.columns + 3;
            }
            let item = self.inline(item, room.saturating_sub(whole.columns))?;
            whole.text.push_str(&item.text);
            whole.columns += item.columns;
        }
        if more > 0 {
            let text = format!("… {more} more");
            whole.columns += text.width() + 2;
            whole.text.push_str(", ");
            whole.text.push_str(&self.look.paint(Tone::Faint, text));
        }
        whole.text.push_str(" }");
        Some(whole)
    }

    fn key(&self, name: &str) -> Piece {
        let is_bare = lua::is_name(name) || name.starts_with('[');
        let text = match name.parse::<i64>() {
            _ if is_bare => clean(name),
            Ok(number) => format!("[{number}]"),
            Err(_) => format!("[{}]", lua::quote(name)),
        };
        Piece { columns: text.width(), text: self.look.paint(Tone::Place, text) }
    }

    fn scalar(&self, value: &Shown) -> Piece {
        let text = plain(value);
        let columns = text.width();
        let text = match value {
            Shown::Nil | Shown::Thing(_) => self.look.paint(Tone::Faint, text),
            _ => text,
        };
        Piece { text, columns }
    }

    /// A text between quotes, cut to so many columns; what is missing is said.
    fn text(&self, text: &str, bytes: usize, room: usize) -> Piece {
        let quoted = lua::quote(text);
        let is_whole = bytes <= text.len();
        if is_whole && quoted.width() <= room {
            return Piece { columns: quoted.width(), text: self.look.paint(Tone::Good, quoted) };
        }
        let note = format!(" ({bytes} bytes)");
        // Where there is hardly any room, more of the text is worth more than its length.
        let note = if note.width() + 8 > room { String::new() } else { note };
        let kept = cut(quoted.trim_end_matches('"'), room.saturating_sub(note.width() + 2));
        let kept = if kept.ends_with('…') { format!("{kept}\"") } else { format!("{kept}…\"") };
        let columns = kept.width() + note.width();
        Piece { columns, text: self.look.paint(Tone::Good, kept) + &self.look.paint(Tone::Faint, note) }
    }

    fn more(&self, count: usize) -> String {
        self.look.paint(Tone::Faint, format!("… {count} more"))
    }
}

/// A text of several lines as it is, but for what would move the cursor.
fn long_text(text: &str, bytes: usize, look: Look) -> String {
    let mut lines: Vec<String> = text.lines().take(MOST_LINES).map(clean).collect();
    let left_out = text.lines().count().saturating_sub(MOST_LINES);
    if left_out > 0 || bytes > text.len() {
        let lines_out = if left_out > 0 { format!("{left_out} more lines, ") } else { String::new() };
        lines.push(look.paint(Tone::Faint, format!("… {lines_out}{bytes} bytes in all")));
    }
    lines.join("\n")
}

fn plain(value: &Shown) -> String {
    match value {
        Shown::Nil => "nil".to_owned(),
        Shown::Boolean(value) => value.to_string(),
        Shown::Integer(value) => value.to_string(),
        // Lua tells 3.0 from 3, and so do we.
        Shown::Number(value) if value.is_finite() && value.fract() == 0.0 && value.abs() < 1e15 => {
            format!("{value:.1}")
        }
        Shown::Number(value) => value.to_string(),
        Shown::Text(text, _) => lua::quote(text),
        Shown::Thing(what) => clean(what),
        Shown::List(..) | Shown::Record(..) => "{ … }".to_owned(),
    }
}

/// Without what would move the cursor of whoever reads it.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|char| if char.is_control() && char != '\t' { '\u{FFFD}' } else { char }).collect()
}

/// As much of a line as fits into so many columns, with a mark where something is missing.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut used = 0;
    let kept = text.chars().take_while(|char| {
        used += char.width().unwrap_or(0);
        used < columns
    });
    kept.chain(std::iter::once('…')).collect()
}

/// Columns that are always there.
const MIN_WIDTH: usize = 20;
const STEP: usize = 2;
const DEEPEST: usize = 8;
const MOST_ITEMS: usize = 40;
const MOST_ROWS: usize = 60;
const MOST_COLUMNS: usize = 12;
const MOST_LINES: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Shown {
        Shown::Text(text.to_owned(), text.len())
    }

    fn record(fields: &[(&str, Shown)]) -> Shown {
        Shown::Record(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(), 0)
    }

    fn shown(value: &Shown, width: usize) -> String {
        render(value, Look { color: false, live: false, width })
    }

    #[test]
    fn short_values_take_one_line() {
        for (value, wanted) in [
            (Shown::Nil, "nil"),
            (Shown::Boolean(true), "true"),
            (Shown::Integer(-3), "-3"),
            (Shown::Number(3.0), "3.0"),
            (Shown::Number(0.25), "0.25"),
            (Shown::Number(f64::INFINITY), "inf"),
            (text("größe\u{1b}[2J"), "\"größe\\u{1b}[2J\""),
            (Shown::Thing("function: a.lua:3".to_owned()), "function: a.lua:3"),
            (Shown::List(vec![], 0), "{}"),
            (Shown::List(vec![Shown::Integer(1), text("b")], 0), "{ 1, \"b\" }"),
            (Shown::List(vec![Shown::Integer(1)], 7), "{ 1, … 7 more }"),
            (
                record(&[("row", Shown::Integer(3)), ("a b", Shown::Nil), ("7", Shown::Nil)]),
                "{ row = 3, [\"a b\"] = nil, [7] = nil }",
            ),
        ] {
            assert_eq!(shown(&value, 80), wanted);
        }
    }

    #[test]
    fn records_of_a_list_stand_below_each_other() {
        let line = |kind: &str, row: i64| record(&[("row", Shown::Integer(row)), ("type", text(kind))]);
        let list =
            Shown::List(vec![line("line", 3), line("起動", 21), record(&[("type", text("größer"))])], 2);
        insta::assert_snapshot!(shown(&list, 40), @r#"
        #  row  type
        1  3    "line"
        2  21   "起動"
        3       "größer"
        … 2 more
        "#);
        // Where a table has no room, each has lines of its own.
        let wide = record(&[
            ("first_name", text("ffffff")),
            ("fourth_name", text("ffffff")),
            ("second_name", text("ssssss")),
            ("third_name", text("tttttt")),
        ]);
        insta::assert_snapshot!(shown(&Shown::List(vec![wide.clone(), wide], 0), 40), @r#"
        {
          {
            first_name = "ffffff",
            fourth_name = "ffffff",
            second_name = "ssssss",
            third_name = "tttttt",
          },
          {
            first_name = "ffffff",
            fourth_name = "ffffff",
            second_name = "ssssss",
            third_name = "tttttt",
          },
        }
        "#);
    }

    #[test]
    fn what_is_long_is_cut_and_says_so() {
        let long = Shown::List((0..100).map(Shown::Integer).collect(), 5);
        let lines = shown(&long, 40);
        assert!(lines.ends_with("  39,\n  … 65 more\n}"), "{lines}");
        let inner = record(&[("text", Shown::Text("x".repeat(4_000), 9_000)), ("z", Shown::Integer(1))]);
        insta::assert_snapshot!(shown(&inner, 40), @r#"
        {
          text = "xxxxxxxxxxxxx…" (9000 bytes),
          z = 1,
        }
        "#);
        assert_eq!(shown(&text("one\ntwo\u{7}"), 40), "one\ntwo\u{FFFD}");
        let deep = (0..20).fold(text(&"y".repeat(50)), |inner, _| Shown::List(vec![inner], 0));
        assert!(shown(&deep, 40).contains("{ 1 items }"));
        assert_eq!(in_a_line(&inner, 30, Look { color: false, live: false, width: 40 }), "{ text, z }");
    }

    #[test]
    fn nothing_is_wider_than_the_terminal() {
        let value = record(&[
            ("list", Shown::List(vec![text("起動する"), text("b")], 0)),
            ("nested", record(&[("text", text(&"起動".repeat(30))), ("n", Shown::Number(1.5))])),
        ]);
        for width in [24, 40, 100] {
            for line in shown(&value, width).lines() {
                assert!(line.width() <= width, "{line:?} in {width}");
            }
        }
    }
}

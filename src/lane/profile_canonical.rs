//! The canonical text of a profile, which is hashed. Pure. `docs/lanes.md` defines it; what is written here must stay the
//! same bytes, so no printer of a library is asked.

use std::fmt::Write as _;
use std::path::Path;

use toml::{Table, Value};

/// Replaces a path by the form that is the same wherever the project lies: relative to `root` if it is below that.
pub(super) fn path(absolute: &str, root: &Path) -> String {
    match Path::new(absolute).strip_prefix(root).map(Path::to_str) {
        Ok(Some("")) => ".".to_owned(),
        // As it is, it would mean the host's firmware.
        Ok(Some("ovmf")) => "./ovmf".to_owned(),
        Ok(Some(below)) => below.to_owned(),
        Ok(None) | Err(_) => absolute.to_owned(),
    }
}

/// Returns the text of a profile's table.
pub(super) fn text(table: &Table) -> String {
    let mut text = String::new();
    let (tables, values): (Vec<_>, Vec<_>) =
        sorted(table).into_iter().partition(|(_, value)| is_section(value));
    for (key, value) in values {
        line(&mut text, key, value);
    }
    for (name, section) in tables {
        match section {
            Value::Array(items) => {
                for item in items {
                    self::section(&mut text, &format!("[[{name}]]"), item);
                }
            }
            section => self::section(&mut text, &format!("[{name}]"), section),
        }
    }
    text
}

fn section(text: &mut String, header: &str, section: &Value) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(header);
    text.push('\n');
    for (key, value) in section.as_table().map(sorted).unwrap_or_default() {
        line(text, key, value);
    }
}

fn line(text: &mut String, key: &str, value: &Value) {
    text.push_str(key);
    text.push_str(" = ");
    push_value(text, value);
    text.push('\n');
}

/// Whether the value is written under a header of its own.
fn is_section(value: &Value) -> bool {
    match value {
        Value::Table(_) => true,
        Value::Array(items) => !items.is_empty() && items.iter().all(Value::is_table),
        _ => false,
    }
}

fn sorted(table: &Table) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}

fn push_value(text: &mut String, value: &Value) {
    match value {
        Value::String(string) => push_string(text, string),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { ", " });
                push_value(text, item);
            }
            text.push(']');
        }
        // Without an exponent, and never without a point.
        Value::Float(number) if number.fract() == 0.0 => text.push_str(&format!("{number:.1}")),
        Value::Float(number) => text.push_str(&number.to_string()),
        // No key of a profile holds anything that is written otherwise.
        Value::Integer(_) | Value::Boolean(_) | Value::Datetime(_) | Value::Table(_) => {
            text.push_str(&value.to_string());
        }
    }
}

fn push_string(text: &mut String, string: &str) {
    let has_escapes = string.contains(['"', '\\']);
    if has_escapes && !string.contains(|c: char| c == '\'' || c.is_ascii_control()) {
        text.push('\'');
        text.push_str(string);
        text.push('\'');
        return;
    }
    text.push('"');
    for c in string.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\u{8}' => text.push_str("\\b"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\u{c}' => text.push_str("\\f"),
            '\r' => text.push_str("\\r"),
            c if c.is_ascii_control() => {
                write!(text, "\\u{:04X}", u32::from(c)).expect("a string takes any text");
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{path, text};

    fn canonical(toml: &str) -> String {
        text(&toml::from_str(toml).unwrap())
    }

    #[test]
    fn tables_follow_the_values_and_everything_is_sorted() {
        let written = "kind = 'qemu'\n[[disk]]\nreadonly=true\npath='b'\n[[disk]]\npath='a'\n[boot]\n[machine]\n\
                       memory_mib = 0x40\ncpus = 1_0\n[qmp]\nallow = ['b',\n'a',]\n";
        assert_eq!(
            canonical(&format!("network = []\nallow_outside = true\n{written}")),
            "allow_outside = true\nkind = \"qemu\"\nnetwork = []\n\n[boot]\n\n[[disk]]\npath = \"b\"\n\
             readonly = true\n\n[[disk]]\npath = \"a\"\n\n[machine]\ncpus = 10\nmemory_mib = 64\n\n[qmp]\n\
             allow = [\"b\", \"a\"]\n"
        );
    }

    #[test]
    fn strings_and_numbers_have_one_spelling() {
        for (written, wanted) in [
            (r#""plain é""#, r#""plain é""#),
            (r#""a \" b""#, r#"'a " b'"#),
            (r"'\$ $'", r"'\$ $'"),
            (r#""it's \"so\"""#, r#""it's \"so\"""#),
            (r#""a\tb\n\u0001\u007f\\""#, r#""a\tb\n\u0001\u007F\\""#),
            ("1e3", "1000.0"),
            ("0.50", "0.5"),
            ("60", "60"),
            ("true", "true"),
        ] {
            assert_eq!(canonical(&format!("x = {written}")), format!("x = {wanted}\n"));
            let back: toml::Table = toml::from_str(&format!("x = {wanted}")).unwrap();
            assert_eq!(back, toml::from_str(&format!("x = {written}")).unwrap());
        }
    }

    #[test]
    fn paths_are_relative_where_they_can_be() {
        let root = Path::new("/project");
        for (absolute, wanted) in [
            ("/project/a/b.img", "a/b.img"),
            ("/projects/b.img", "/projects/b.img"),
            ("/project", "."),
            ("/project/ovmf", "./ovmf"),
            ("/project/a/ovmf", "a/ovmf"),
        ] {
            assert_eq!(path(absolute, root), wanted);
        }
    }
}

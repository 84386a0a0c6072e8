//! Lua values as somebody at a prompt sees them: cut where they are endless, never run.

use mlua::{Table, Value};

use super::failure::Caught;
use super::options::describe;
use super::prompt::{Shown, TEXT_CHARS};

/// Turns a value into what is shown of it. Objects of the script are asked nothing, so this neither fails nor waits.
pub(super) fn shown(value: &Value) -> Shown {
    at(value, 0, &mut PARTS.clone())
}

fn at(value: &Value, depth: usize, left: &mut usize) -> Shown {
    *left = left.saturating_sub(1);
    match value {
        Value::Nil => Shown::Nil,
        Value::Boolean(value) => Shown::Boolean(*value),
        Value::Integer(number) => Shown::Integer(*number),
        Value::Number(number) => Shown::Number(*number),
        Value::String(text) => {
            let bytes = text.as_bytes();
            let head = &bytes[..bytes.len().min(TEXT_CHARS * 4)];
            let head: String = String::from_utf8_lossy(head).chars().take(TEXT_CHARS).collect();
            Shown::Text(head, bytes.len())
        }
        Value::Table(table) if depth < DEPTH => of_table(table, depth, left),
        Value::Table(_) => Shown::Thing("{…}".to_owned()),
        Value::UserData(data) => match data.borrow::<Caught>() {
            Ok(caught) => Shown::Thing(caught.0.to_string()),
            Err(_) => Shown::Thing(thing(value)),
        },
        Value::Error(error) => Shown::Thing(super::Failure::from_lua(error).to_string()),
        Value::Function(function) => {
            let info = function.info();
            let place = match (info.short_src, info.line_defined) {
                (Some(file), Some(line)) if !file.starts_with('[') => format!(" {file}:{line}"),
                _ => String::new(),
            };
            Shown::Thing(format!("function{place}"))
        }
        other => Shown::Thing(describe(other)),
    }
}

/// One of our objects, by the name that scripts know it by.
fn thing(value: &Value) -> String {
    match value.to_string() {
        Ok(text) if !text.contains("0x") => text,
        _ => match value {
            Value::UserData(data) => data.type_name().ok().map_or_else(
                || describe(value),
                |name| name.to_string_lossy().trim_end_matches("Skin").to_lowercase(),
            ),
            other => describe(other),
        },
    }
}

fn of_table(table: &Table, depth: usize, left: &mut usize) -> Shown {
    let length = table.raw_len();
    let is_list = length > 0 && table.pairs::<Value, Value>().take(length + 1).count() == length;
    if is_list {
        let mut items = Vec::new();
        for index in 1..=length {
            if *left == 0 {
                break;
            }
            items.push(at(&table.raw_get::<Value>(index).unwrap_or(Value::Nil), depth + 1, left));
        }
        let more = length - items.len();
        return Shown::List(items, more);
    }
    let mut fields = Vec::new();
    let mut more = 0;
    for pair in table.pairs::<Value, Value>() {
        let Ok((key, value)) = pair else { break };
        if *left == 0 || fields.len() >= PARTS {
            more += 1;
            continue;
        }
        fields.push((key_text(&key), at(&value, depth + 1, left)));
    }
    fields.sort_by(|(a, _), (b, _)| natural(a).cmp(&natural(b)));
    Shown::Record(fields, more)
}

/// A name as it is, any other key in brackets.
fn key_text(key: &Value) -> String {
    match key {
        Value::String(text) => {
            let text = text.to_string_lossy();
            let is_name = !text.starts_with(|char: char| char.is_ascii_digit())
                && !text.is_empty()
                && text.chars().all(|char| char.is_ascii_alphanumeric() || char == '_');
            if is_name { text } else { format!("[{text:?}]") }
        }
        Value::Integer(number) => format!("[{number}]"),
        Value::Number(number) => format!("[{number}]"),
        Value::Boolean(value) => format!("[{value}]"),
        other => format!("[{}]", thing(other)),
    }
}

/// Numbers in brackets in the order of their values.
fn natural(key: &str) -> (Option<i64>, &str) {
    (key.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).and_then(|text| text.parse().ok()), key)
}

const DEPTH: usize = 12;
/// Values that are shown at most.
const PARTS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: &str) -> Shown {
        let lua = mlua::Lua::new();
        shown(&lua.load(code).eval::<Value>().unwrap())
    }

    #[test]
    fn tables_are_sorted_and_lists_stay_lists() {
        let text = |text: &str| Shown::Text(text.to_owned(), text.len());
        assert_eq!(
            of("return { b = 1, a = { 'x', 'y' }, ['two words'] = true }"),
            Shown::Record(
                vec![
                    ("[\"two words\"]".to_owned(), Shown::Boolean(true)),
                    ("a".to_owned(), Shown::List(vec![text("x"), text("y")], 0)),
                    ("b".to_owned(), Shown::Integer(1)),
                ],
                0
            )
        );
        let Shown::Record(fields, 0) = of("return { [10] = 'ten', [9] = 'nine', a = 1 }") else { panic!() };
        let keys: Vec<&str> = fields.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["a", "[9]", "[10]"]);
    }

    #[test]
    fn endless_values_end() {
        assert!(matches!(of("local t = {} t.t = t return t"), Shown::Record(..)));
        let Shown::List(items, more) = of("local t = {} for i = 1, 50000 do t[i] = i end return t") else {
            panic!()
        };
        assert_eq!(items.len() + more, 50_000);
        assert!(more > 0);
        let Shown::Text(head, length) = of("return ('ä'):rep(100000)") else { panic!() };
        assert_eq!((head.chars().count(), length), (TEXT_CHARS, 200_000));
    }

    #[test]
    fn nothing_of_the_script_runs_to_show_it() {
        let code = "return setmetatable({ a = 1 }, { __index = error, __pairs = error, __len = error })";
        assert_eq!(of(code), Shown::Record(vec![("a".to_owned(), Shown::Integer(1))], 0));
    }
}

//! The one place where an option table becomes typed values. A key that nobody asked for is an error with its near
//! miss.

use std::time::Duration;

use mlua::{Table, Value};

use super::failure::Failure;
use crate::near::nearest;

/// The option table of one call.
pub(super) struct Options {
    call: &'static str,
    table: Option<Table>,
}

impl Options {
    /// Checks that every key of `table` is one of `known`.
    pub(super) fn new(
        call: &'static str,
        table: Option<Table>,
        known: &[&'static str],
    ) -> Result<Self, Failure> {
        if let Some(table) = &table {
            for pair in table.pairs::<Value, Value>() {
                let (key, _) = pair.map_err(|error| Failure::from_lua(&error))?;
                check_key(call, &key, known)?;
            }
        }
        Ok(Self { call, table })
    }

    /// Seconds as a duration.
    pub(super) fn seconds(&self, key: &'static str) -> Result<Option<Duration>, Failure> {
        let Some(value) = self.value(key)? else { return Ok(None) };
        let seconds = match value {
            #[expect(clippy::cast_precision_loss, reason = "nobody waits 2^53 seconds")]
            Value::Integer(seconds) => seconds as f64,
            Value::Number(seconds) => seconds,
            other => return Err(self.wrong(key, "a number of seconds", &other)),
        };
        seconds_to_duration(seconds)
            .map(Some)
            .ok_or_else(|| self.wrong(key, "a number of seconds between 0 and 1e9", &Value::Number(seconds)))
    }

    /// A string.
    pub(super) fn string(&self, key: &'static str) -> Result<Option<String>, Failure> {
        match self.value(key)? {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.to_string_lossy())),
            Some(other) => Err(self.wrong(key, "a string", &other)),
        }
    }

    /// A whole number within bounds.
    pub(super) fn whole(&self, key: &'static str, least: u32, most: u32) -> Result<Option<u32>, Failure> {
        let Some(value) = self.value(key)? else { return Ok(None) };
        let number = match &value {
            Value::Integer(number) => u32::try_from(*number).ok(),
            _ => None,
        };
        match number {
            Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(self.wrong(key, &format!("a whole number between {least} and {most}"), &value)),
        }
    }

    /// A list of two whole numbers from 0.
    pub(super) fn pair(&self, key: &'static str, most: u32) -> Result<Option<(u32, u32)>, Failure> {
        let Some(value) = self.value(key)? else { return Ok(None) };
        let wrong = || self.wrong(key, &format!("two whole numbers between 0 and {most}"), &value);
        let Value::Table(list) = &value else { return Err(wrong()) };
        let numbers: Result<Vec<u32>, _> = list.sequence_values().collect();
        match numbers.as_deref() {
            Ok(&[first, second]) if first.max(second) <= most => Ok(Some((first, second))),
            _ => Err(wrong()),
        }
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(
        &self,
        key: &'static str,
        choices: &[T],
        name: fn(T) -> &'static str,
    ) -> Result<Option<T>, Failure> {
        let Some(word) = self.string(key)? else { return Ok(None) };
        if let Some(choice) = choices.iter().find(|choice| name(**choice) == word) {
            return Ok(Some(*choice));
        }
        let names: Vec<&str> = choices.iter().map(|choice| name(*choice)).collect();
        let message = format!("{}: option `{key}` is {word:?}", self.call);
        Err(match nearest(&word, names.iter().copied()) {
            Some(near) => Failure::usage(format!("{message}, did you mean {near:?}?")),
            None => Failure::usage(message).hint(format!("it may be {}", names.join(", "))),
        })
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self, key: &'static str) -> Result<Option<bool>, Failure> {
        match self.value(key)? {
            None => Ok(None),
            Some(Value::Boolean(value)) => Ok(Some(value)),
            Some(other) => Err(self.wrong(key, "true or false", &other)),
        }
    }

    /// A table.
    pub(super) fn table(&self, key: &'static str, wanted: &str) -> Result<Option<Table>, Failure> {
        match self.value(key)? {
            None => Ok(None),
            Some(Value::Table(table)) => Ok(Some(table)),
            Some(other) => Err(self.wrong(key, wanted, &other)),
        }
    }

    /// A list of strings.
    pub(super) fn strings(&self, key: &'static str) -> Result<Option<Vec<String>>, Failure> {
        match self.value(key)? {
            None => Ok(None),
            Some(Value::Table(list)) => list
                .sequence_values::<Value>()
                .map(|item| match item {
                    Ok(Value::String(text)) => Ok(text.to_string_lossy()),
                    Ok(other) => Err(self.wrong(key, "a list of strings", &other)),
                    Err(error) => Err(Failure::from_lua(&error)),
                })
                .collect::<Result<_, _>>()
                .map(Some),
            Some(other) => Err(self.wrong(key, "a list of strings", &other)),
        }
    }

    fn value(&self, key: &str) -> Result<Option<Value>, Failure> {
        let Some(table) = &self.table else { return Ok(None) };
        match table.get::<Value>(key).map_err(|error| Failure::from_lua(&error))? {
            Value::Nil => Ok(None),
            value => Ok(Some(value)),
        }
    }

    fn wrong(&self, key: &str, wanted: &str, got: &Value) -> Failure {
        Failure::usage(format!("{}: option `{key}` wants {wanted}, got {}", self.call, describe(got)))
    }
}

/// Turns seconds into a duration, when they are one.
pub(super) fn seconds_to_duration(seconds: f64) -> Option<Duration> {
    (0.0..=1e9).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

/// A short description of a value of a wrong type.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::String(text) => format!("the string {:?}", text.to_string_lossy()),
        Value::Integer(number) => format!("the number {number}"),
        Value::Number(number) => format!("the number {number}"),
        Value::Boolean(value) => format!("{value}"),
        Value::Nil => "nil".to_owned(),
        other => format!("a {}", other.type_name()),
    }
}

fn check_key(call: &str, key: &Value, known: &[&str]) -> Result<(), Failure> {
    let list = known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
    let Value::String(name) = key else {
        let got = describe(key);
        return Err(Failure::usage(format!("{call}: options are named, got {got} as a key"))
            .hint(format!("known options: {list}")));
    };
    let name = name.to_string_lossy();
    if known.contains(&name.as_str()) {
        return Ok(());
    }
    Err(match nearest(&name, known.iter().copied()) {
        Some(near) => Failure::usage(format!("{call}: unknown option `{name}`, did you mean `{near}`?")),
        None => {
            Failure::usage(format!("{call}: unknown option `{name}`")).hint(format!("known options: {list}"))
        }
    })
}

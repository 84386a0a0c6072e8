//! The reference as a page for people: `docs/reference.md`.

use std::fmt::Write as _;

use super::{Class, Field, Function, Reference, readable};

/// Returns the page in Markdown.
pub fn page(reference: &Reference) -> String {
    let mut page = String::from(HEAD);
    page.push_str("\n## Globals\n");
    for function in &reference.functions {
        write_function(&mut page, reference, function);
    }
    for value in &reference.values {
        _ = write!(page, "\n### `{}`\n\n{}\n", value.name, value.doc);
        write_example(&mut page, value.example.as_deref());
    }
    let (handles, plain): (Vec<&Class>, Vec<&Class>) =
        reference.classes.iter().filter(|class| !class.is_options).partition(|class| class.is_handle);
    for class in handles.into_iter().filter(|class| !class.methods.is_empty() || !class.fields.is_empty()) {
        write_class(&mut page, reference, class);
    }
    page.push_str("\n## Records\n\nPlain tables that calls give, or that options take.\n");
    for class in plain {
        _ = write!(page, "\n### {}\n", class.what);
        if !class.doc.is_empty() {
            _ = write!(page, "\n{}\n", class.doc);
        }
        if let Some(parent) = &class.parent {
            _ = write!(page, "\nHas all fields of {} as well.\n", readable(parent));
        }
        write_fields(&mut page, "field", &class.fields.iter().collect::<Vec<_>>());
    }
    page.push_str("\n## Types\n");
    for alias in &reference.aliases {
        _ = write!(page, "\n### {}\n", readable(&alias.name));
        if !alias.doc.is_empty() {
            _ = write!(page, "\n{}\n", alias.doc);
        }
        if !alias.kind.is_empty() {
            _ = write!(page, "\n`{}`\n", readable(&alias.kind));
        }
        if !alias.choices.is_empty() {
            page.push('\n');
        }
        for (choice, doc) in &alias.choices {
            _ = match doc.is_empty() {
                true => writeln!(page, "- `{choice}`"),
                false => writeln!(page, "- `{choice}`: {doc}"),
            };
        }
    }
    page
}

const HEAD: &str = "\
<!-- Made from lua/meta; change it there, and then: BACKSTAFF_UPDATE_GOLDEN=1 cargo test --test it reference -->

# Reference of the Lua API

Every name that a scenario is given, as editors know it too: the same is in `lua/meta`, which `backstaff types` prints.
[The guide](lua.md) says how they work together.

Times are seconds as numbers, unless a name ends in `_ms` or `_us`. What stands in square brackets may be left out. A
wrong argument or an unknown option raises an error of kind \"usage\" at the line of the call.
";

fn write_class(page: &mut String, reference: &Reference, class: &Class) {
    _ = write!(page, "\n## {}\n", class.what);
    if !class.doc.is_empty() {
        _ = write!(page, "\n{}\n", class.doc);
    }
    if !class.fields.is_empty() {
        page.push_str("\n| field | type | what |\n|---|---|---|\n");
        for field in &class.fields {
            let example = field.example.as_deref().map(|code| format!(" Example: `{}`", cell(code)));
            let (kind, doc) = (cell(&readable(&field.kind)), cell(&field.doc));
            _ = writeln!(page, "| `{}` | `{kind}` | {doc}{} |", field.name, example.unwrap_or_default());
        }
    }
    for method in &class.methods {
        write_function(page, reference, method);
    }
}

fn write_function(page: &mut String, reference: &Reference, function: &Function) {
    _ = write!(page, "\n### `{}`\n\n{}\n", function.signature, function.doc);
    let options = function.options.as_deref().and_then(|name| reference.class(name));
    let params: Vec<Field> = function
        .params
        .iter()
        .filter(|param| !(options.is_some() && param.name == "options"))
        .filter(|param| !param.kind.is_empty())
        .map(|param| Field {
            name: param.name.clone(),
            kind: param.kind.clone(),
            is_optional: param.is_optional,
            doc: param.doc.clone(),
            example: None,
        })
        .collect();
    write_fields(page, "argument", &params.iter().collect::<Vec<_>>());
    if let Some(options) = options {
        write_fields(page, "option", &reference.fields(options));
    }
    let mut returns = Vec::new();
    for (kind, doc) in function.returns.iter().zip(&function.return_docs) {
        let kind = readable(kind);
        returns.push(match doc.is_empty() {
            true => format!("`{kind}`"),
            false => format!("`{kind}` ({})", doc.trim_end_matches('.')),
        });
    }
    if !returns.is_empty() {
        _ = write!(page, "\nReturns {}.\n", returns.join(", "));
    }
    write_example(page, function.example.as_deref());
}

fn write_fields(page: &mut String, what: &str, fields: &[&Field]) {
    if fields.is_empty() {
        return;
    }
    _ = write!(page, "\n| {what} | type | what |\n|---|---|---|\n");
    for field in fields {
        let optional = if field.is_optional { "?" } else { "" };
        let (kind, doc) = (cell(&readable(&field.kind)), cell(&field.doc));
        _ = writeln!(page, "| `{}{optional}` | `{kind}` | {doc} |", field.name);
    }
}

fn write_example(page: &mut String, example: Option<&str>) {
    if let Some(example) = example {
        _ = write!(page, "\nExample: `{example}`\n");
    }
}

/// Text for a cell of a table, also inside code.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

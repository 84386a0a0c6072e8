//! backstaff-lua(7), from the reference that editors and the prompt have, too.

use super::page::{Page, Writer};
use crate::reference::{Class, Field, Function, Reference, readable, reference};

pub(super) fn page() -> Page {
    let reference = reference();
    let mut page = Writer::new("backstaff-lua", "7", "the Lua that scenarios of backstaff are written in");
    page.section("DESCRIPTION").text(
        "Scenarios are Lua 5.4. Times are seconds as numbers, unless a name ends in `_ms` or `_us`. What stands in square \
         brackets may be left out; a table of options comes last. A wrong argument or an unknown option raises an error of \
         kind \"usage\" at the line of the call.\n\nA call that waits lets the other tasks of the scenario go on, and looks at \
         everything that came since the last match on its stream: nothing is missed between two calls, and nobody has to \
         sleep.",
    );
    page.section("GLOBALS");
    for function in &reference.functions {
        add_function(&mut page, reference, function);
    }
    for value in &reference.values {
        page.item(&value.name, &value.doc);
        add_example(&mut page, value.example.as_deref());
    }
    let (handles, plain): (Vec<&Class>, Vec<&Class>) =
        reference.classes.iter().filter(|class| !class.is_options).partition(|class| class.is_handle);
    for class in handles.into_iter().filter(|class| !class.methods.is_empty() || !class.fields.is_empty()) {
        page.section(&class.what).text(&class.doc);
        add_fields(&mut page, &class.fields);
        for method in &class.methods {
            add_function(&mut page, reference, method);
        }
    }
    page.section("RECORDS").text("Plain tables that calls give, or that options take.");
    for class in plain {
        page.subsection(&class.what).text(&class.doc);
        add_fields(&mut page, &class.fields);
    }
    page.section("TYPES");
    for alias in &reference.aliases {
        let choices = alias.choices.iter().map(|(choice, doc)| match doc.is_empty() {
            true => choice.clone(),
            false => format!("{choice} ({doc})"),
        });
        let choices = choices.collect::<Vec<_>>().join(", ");
        let kind = readable(&alias.kind);
        let parts = [&*alias.doc, &*kind, &*choices].into_iter().filter(|part| !part.is_empty());
        page.item(&readable(&alias.name), &parts.collect::<Vec<_>>().join("\n\n"));
    }
    page.finish(&["backstaff(1)", "backstaff-run(1)", "backstaff.toml(5)"])
}

fn add_function(page: &mut Writer, reference: &Reference, function: &Function) {
    page.item(&function.signature, &function.doc);
    let options = function.options.as_deref().and_then(|name| reference.class(name));
    let params = function.params.iter().filter(|param| !param.doc.is_empty());
    let mut lines: Vec<String> =
        params.map(|param| format!("`{}` ({}): {}", param.name, readable(&param.kind), param.doc)).collect();
    for option in options.map(|class| reference.fields(class)).into_iter().flatten() {
        lines.push(format!("`{}` = {}: {}", option.name, readable(&option.kind), option.doc));
    }
    if !function.returns.is_empty() {
        lines.push(format!("Returns {}.", readable(&function.returns.join(", "))));
    }
    for line in lines {
        page.more(&line);
    }
    add_example(page, function.example.as_deref());
}

fn add_fields(page: &mut Writer, fields: &[Field]) {
    for field in fields {
        let kind = readable(&field.kind);
        let parts = [&*kind, &*field.doc].into_iter().filter(|part| !part.is_empty());
        page.item(&field.name, &parts.collect::<Vec<_>>().join(": "));
        add_example(page, field.example.as_deref());
    }
}

fn add_example(page: &mut Writer, example: Option<&str>) {
    if let Some(example) = example {
        page.more(&format!("Example: `{example}`"));
    }
}

//! Entries of the reference as plain text, for a terminal.

use super::{Class, Entry, Field, Function, Reference, readable};

/// The entries one after the other, an empty line between two.
pub(super) fn help(reference: &Reference, entries: &[Entry<'_>], columns: usize) -> String {
    let mut text = Text { out: String::new(), columns: columns.clamp(20, 200) };
    for (at, entry) in entries.iter().enumerate() {
        if at > 0 {
            text.out.push('\n');
        }
        match entry {
            Entry::Function(function) => text.function(reference, function),
            Entry::Class(class) => text.class(reference, class),
            Entry::Field(class, field) => text.member(class, field),
            Entry::Value(value) => text.value(value),
        }
    }
    text.out
}

struct Text {
    out: String,
    columns: usize,
}

impl Text {
    fn function(&mut self, reference: &Reference, function: &Function) {
        self.line(0, &function.signature);
        self.paragraphs(2, &function.doc);
        let described =
            function.params.iter().filter(|param| Some(&*param.kind) != function.options.as_deref());
        for param in described.filter(|param| !param.kind.is_empty()) {
            let optional = if param.is_optional { "?" } else { "" };
            let kind = readable(&param.kind);
            self.item(&format!("{}{optional}: {kind}", param.name), &param.doc);
        }
        if let Some(options) = function.options.as_deref().and_then(|name| reference.class(name)) {
            self.line(2, "options:");
            self.fields(&reference.fields(options));
        }
        for (kind, doc) in function.returns.iter().zip(&function.return_docs) {
            self.item(&format!("returns {}", readable(kind)), doc);
        }
        self.example(function.example.as_deref());
    }

    fn class(&mut self, reference: &Reference, class: &Class) {
        self.line(0, &class.what);
        self.paragraphs(2, &class.doc);
        for method in &class.methods {
            self.item(&method.signature, first_sentence(&method.doc));
        }
        self.fields(&reference.fields(class));
    }

    fn member(&mut self, class: &Class, field: &Field) {
        let owner = match class.is_options {
            true => format!("option of {}", readable(&class.name).trim_end_matches("Options").to_lowercase()),
            false => class.what.clone(),
        };
        let separator = if class.is_options { ": " } else { "." };
        let optional = if field.is_optional { "?" } else { "" };
        self.line(0, &format!("{owner}{separator}{}{optional}: {}", field.name, readable(&field.kind)));
        self.paragraphs(2, &field.doc);
        self.example(field.example.as_deref());
    }

    fn value(&mut self, value: &Field) {
        self.line(0, &format!("{}: {}", value.name, readable(&value.kind)));
        self.paragraphs(2, &value.doc);
        self.example(value.example.as_deref());
    }

    fn fields(&mut self, fields: &[&Field]) {
        for field in fields {
            let optional = if field.is_optional { "?" } else { "" };
            self.item(&format!("{}{optional}: {}", field.name, readable(&field.kind)), &field.doc);
        }
    }

    fn example(&mut self, example: Option<&str>) {
        if let Some(example) = example {
            self.line(2, &format!("example: {example}"));
        }
    }

    /// A name, and below it, further in, what is said about it.
    fn item(&mut self, name: &str, doc: &str) {
        self.line(4, name);
        self.paragraphs(8, doc);
    }

    fn paragraphs(&mut self, indent: usize, text: &str) {
        for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
            self.wrapped(indent, paragraph);
        }
    }

    fn wrapped(&mut self, indent: usize, paragraph: &str) {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            let width = indent + line.chars().count() + 1 + word.chars().count();
            if !line.is_empty() && width > self.columns {
                self.line(indent, &line);
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(indent, &line);
    }

    fn line(&mut self, indent: usize, text: &str) {
        self.out.extend(std::iter::repeat_n(' ', indent));
        self.out.push_str(text);
        self.out.push('\n');
    }
}

/// Up to the first full stop that ends a sentence, of the first paragraph.
pub(super) fn first_sentence(doc: &str) -> &str {
    let paragraph = doc.split("\n\n").next().unwrap_or_default();
    match paragraph.find(". ") {
        Some(end) => &paragraph[..=end],
        None => paragraph,
    }
}

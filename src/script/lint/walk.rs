//! Goes through a program with its scopes, knowing of each expression the type in the API, or that it is not known.

use std::collections::{HashMap, HashSet};

use super::names::{GLOBALS, LIBRARIES, NOT_HERE, OF_TEST};
use super::story::Story;
use super::syntax::{
    Base, Block, Chain, Expr, Function, Item, Key, Name, Operator, Program, Statement, StatementKind, Step,
    Value,
};
use super::{Raw, Rule, near};
use crate::reference::{self, Class, Reference, reference};

/// Returns what is wrong in a program, in no particular order.
pub(super) fn walk(source: &str, program: &Program) -> Vec<Raw> {
    // Once to see what the script itself sets, and once to judge.
    let mut first = Walker::new(source, Facts::default(), false);
    first.block(&program.block);
    let facts = first.seen;
    let mut second = Walker::new(source, facts, true);
    second.block(&program.block);
    second.duplicates();
    second.found
}

/// What a script does somewhere, which matters everywhere.
#[derive(Default)]
struct Facts {
    /// Globals that it sets, or asks for without relying on them.
    globals: HashSet<Box<str>>,
    /// Locals, by their declaration, that get another value later.
    reassigned: HashSet<usize>,
    /// What is handed to local functions, by their declaration: a type for each parameter, none where there are several.
    arguments: HashMap<usize, Vec<Option<Kind>>>,
    /// Local functions that are bodies of scenarios.
    bodies: HashSet<usize>,
    /// It gets at the table of globals itself.
    touches_globals: bool,
    /// It puts another table in its place.
    replaces_globals: bool,
}

/// A type in LuaCATS.
type Kind = String;

/// What a local variable is.
#[derive(Clone)]
struct Local {
    name: Box<str>,
    declared: usize,
    kind: Option<Kind>,
    is_function: bool,
}

/// What a part of a chain comes to.
enum Met<'r> {
    Unknown,
    /// A value of a type.
    Of(Kind),
    /// A function of the API: of a global, or a method that was taken with a dot.
    Function(&'r reference::Function),
    Library(&'static str),
    /// One of a library's functions, or one of Lua's own.
    Lua,
    /// The script's own function.
    Own(usize),
}

struct Walker<'s> {
    source: &'s str,
    reference: &'static Reference,
    known: Facts,
    seen: Facts,
    judges: bool,
    locals: Vec<Local>,
    /// Where in `locals` those of a name are, the innermost last.
    by_name: HashMap<Box<str>, Vec<usize>>,
    found: Vec<Raw>,
    story: Option<Story>,
    /// How many functions and loops there are around this place.
    depth: usize,
    declared: Vec<(String, usize, usize)>,
}

impl<'s> Walker<'s> {
    fn new(source: &'s str, known: Facts, judges: bool) -> Self {
        Self {
            source,
            reference: reference(),
            known,
            seen: Facts::default(),
            judges,
            locals: Vec::new(),
            by_name: HashMap::new(),
            found: Vec::new(),
            story: None,
            depth: 0,
            declared: Vec::new(),
        }
    }

    fn say(&mut self, rule: Rule, start: usize, end: usize, message: String, hint: Option<String>) {
        if self.judges && self.found.len() < MOST_RAW {
            let message = super::shortened(message);
            self.found.push(Raw { rule, start, end, message, hint });
        }
    }

    fn block(&mut self, block: &Block) {
        let around = self.locals.len();
        for statement in &block.statements {
            self.statement(statement);
        }
        self.forget(around);
    }

    fn statement(&mut self, statement: &Statement) {
        match &statement.kind {
            StatementKind::Local { names, values } => self.local(names, values),
            StatementKind::Assign { targets, values } => {
                self.exprs(values);
                for target in targets {
                    self.assign(target);
                }
            }
            StatementKind::Call(expr) => drop(self.expr(expr)),
            StatementKind::Do(block) => self.block(block),
            StatementKind::While { condition, block } => self.looped(|walker| {
                walker.condition(condition);
                walker.block(block);
            }),
            StatementKind::Repeat { block, condition } => self.looped(|walker| {
                let around = walker.locals.len();
                for statement in &block.statements {
                    walker.statement(statement);
                }
                walker.condition(condition);
                walker.forget(around);
            }),
            StatementKind::If { branches, otherwise } => {
                for (condition, block) in branches {
                    self.condition(condition);
                    self.block(block);
                }
                if let Some(block) = otherwise {
                    self.block(block);
                }
            }
            StatementKind::For { names, values, block } => {
                self.exprs(values);
                self.looped(|walker| {
                    let around = walker.locals.len();
                    names.iter().for_each(|name| walker.declare(name, None, false));
                    walker.block(block);
                    walker.forget(around);
                });
            }
            StatementKind::Function { target, is_method, function } => {
                match (&target.base, target.steps.is_empty()) {
                    (Base::Name(name), true) => self.assign_name(name),
                    (Base::Name(name), false) => self.reach(name),
                    (Base::Parens(_), _) => {}
                }
                self.function(function, Vec::new(), *is_method, false);
            }
            StatementKind::LocalFunction { name, function } => {
                self.declare(name, None, true);
                let kinds = self.known.arguments.get(&name.start).cloned().unwrap_or_default();
                let is_body = self.known.bodies.contains(&name.start);
                self.function(function, kinds, false, is_body);
            }
            StatementKind::Return(values) => self.exprs(values),
            StatementKind::Goto => {
                if let Some(story) = &mut self.story {
                    story.beside();
                }
            }
            StatementKind::Nothing => {}
        }
    }

    fn local(&mut self, names: &[Name], values: &[Expr]) {
        let mut kinds = Vec::new();
        for (at, value) in values.iter().enumerate() {
            let function = match (value.sole(), names.get(at)) {
                (Some(Value::Function(function)), Some(name)) => Some((function, name)),
                _ => None,
            };
            kinds.push(match function {
                // The same as `local function`, but that it does not know itself.
                Some((function, name)) => {
                    let kinds = self.known.arguments.get(&name.start).cloned().unwrap_or_default();
                    let is_body = self.known.bodies.contains(&name.start);
                    self.function(function, kinds, false, is_body);
                    (None, true)
                }
                None => (self.expr(value), false),
            });
        }
        let mut kinds = kinds.into_iter();
        for name in names {
            let (kind, is_function) = kinds.next().unwrap_or_default();
            self.declare(name, kind, is_function);
        }
    }

    fn declare(&mut self, name: &Name, kind: Option<Kind>, is_function: bool) {
        let is_steady = !self.known.reassigned.contains(&name.start);
        self.seen.replaces_globals |= &*name.text == "_ENV";
        self.by_name.entry(name.text.clone()).or_default().push(self.locals.len());
        self.locals.push(Local {
            name: name.text.clone(),
            declared: name.start,
            kind: kind.filter(|_| is_steady),
            is_function: is_function && is_steady,
        });
    }

    /// Ends the scope of all locals but the first so many.
    fn forget(&mut self, around: usize) {
        for local in self.locals.drain(around..) {
            if let Some(places) = self.by_name.get_mut(&local.name) {
                places.pop();
            }
        }
    }

    fn lookup(&self, name: &str) -> Option<&Local> {
        let place = self.by_name.get(name)?.last()?;
        self.locals.get(*place)
    }

    fn assign(&mut self, target: &Expr) {
        let Value::Chain(chain) = &target.first.value else { return };
        match (&chain.base, chain.steps.as_slice()) {
            (Base::Name(name), []) => self.assign_name(name),
            (Base::Name(name), [.., last]) => {
                self.reach(name);
                // What it is set in is read; what is set there need not exist.
                if let Step::Index(key) = last {
                    self.expr(key);
                }
                for step in &chain.steps[..chain.steps.len() - 1] {
                    self.step_parts(step);
                }
            }
            (Base::Parens(_), _) => drop(self.expr(target)),
        }
    }

    fn assign_name(&mut self, name: &Name) {
        match self.lookup(&name.text) {
            Some(local) => {
                let declared = local.declared;
                self.seen.reassigned.insert(declared);
            }
            None => {
                self.seen.replaces_globals |= &*name.text == "_ENV";
                self.seen.globals.insert(name.text.clone());
            }
        }
    }

    /// Something is set in what this name stands for: from then on nobody knows what it has.
    fn reach(&mut self, name: &Name) {
        if self.lookup(&name.text).is_none() {
            self.seen.globals.insert(name.text.clone());
            self.seen.touches_globals |= matches!(&*name.text, "_G" | "_ENV");
            self.seen.replaces_globals |= &*name.text == "_ENV";
        }
    }

    fn step_parts(&mut self, step: &Step) {
        match step {
            Step::Field(_) => {}
            Step::Index(key) => drop(self.expr(key)),
            Step::Call(arguments) | Step::Method(_, arguments) => {
                self.exprs(arguments);
                self.looks();
            }
        }
    }

    fn looped(&mut self, body: impl FnOnce(&mut Self)) {
        let before = self.story.as_mut().map(Story::begin_loop);
        self.depth += 1;
        body(self);
        self.depth -= 1;
        if let (Some(story), Some(before)) = (&mut self.story, before) {
            story.end_loop(before);
        }
    }

    /// A condition may ask for a global that is not there.
    fn condition(&mut self, condition: &Expr) {
        self.probe(condition);
        self.expr(condition);
    }

    fn probe(&mut self, expr: &Expr) {
        let operands = std::iter::once(&expr.first).chain(expr.others.iter().map(|(_, operand)| operand));
        for operand in operands {
            if let Value::Chain(Chain { base: Base::Name(name), steps }) = &operand.value
                && self.lookup(&name.text).is_none()
            {
                match steps.as_slice() {
                    [] => drop(self.seen.globals.insert(name.text.clone())),
                    [Step::Field(field)] => {
                        self.seen.globals.insert(format!("{}.{}", name.text, field.text).into());
                    }
                    _ => {}
                }
            }
        }
    }

    fn exprs(&mut self, exprs: &[Expr]) {
        for expr in exprs {
            self.expr(expr);
        }
    }

    /// Goes through an expression and returns its type.
    fn expr(&mut self, expr: &Expr) -> Option<Kind> {
        if expr.others.iter().any(|(operator, _)| *operator == Operator::Probing)
            || expr.first.unary == Some(Operator::Probing)
        {
            self.probe(expr);
        }
        let kind = self.value(&expr.first.value);
        for (_, operand) in &expr.others {
            self.value(&operand.value);
        }
        kind.filter(|_| expr.sole().is_some())
    }

    fn value(&mut self, value: &Value) -> Option<Kind> {
        match value {
            Value::Plain | Value::String(_) | Value::Varargs => None,
            Value::Function(function) => {
                self.function(function, Vec::new(), false, false);
                None
            }
            Value::Table(table) => {
                for Item { key, value } in &table.items {
                    if let Key::Computed(key) = key {
                        self.expr(key);
                    }
                    self.expr(value);
                }
                None
            }
            Value::Chain(chain) => match self.chain(chain) {
                Met::Of(kind) => Some(kind),
                _ => None,
            },
        }
    }

    /// Goes through a function. As the body of a scenario it has a story of its own.
    fn function(&mut self, function: &Function, kinds: Vec<Option<Kind>>, is_method: bool, is_body: bool) {
        let story = std::mem::replace(&mut self.story, (is_body && self.judges).then(Story::default));
        self.plain_function(function, kinds, is_method);
        if let Some(ended) = std::mem::replace(&mut self.story, story) {
            let room = MOST_RAW.saturating_sub(self.found.len());
            self.found.extend(ended.end().into_iter().take(room));
        }
    }

    fn plain_function(&mut self, function: &Function, kinds: Vec<Option<Kind>>, is_method: bool) {
        let around = self.locals.len();
        self.depth += 1;
        if is_method {
            // It may stand for anything, and hides what is called so outside.
            self.declare(&Name { text: "self".into(), start: usize::MAX }, None, false);
        }
        let mut kinds = kinds.into_iter();
        for param in &function.params {
            self.declare(param, kinds.next().flatten(), false);
        }
        self.block(&function.block);
        self.depth -= 1;
        self.forget(around);
    }

    /// Goes through a chain and returns what it comes to.
    fn chain(&mut self, chain: &Chain) -> Met<'static> {
        let (mut met, mut spoken) = match &chain.base {
            Base::Parens(inside) => (self.expr(inside).map_or(Met::Unknown, Met::Of), String::from("(…)")),
            Base::Name(name) => (self.base(name, chain.steps.first()), name.text.to_string()),
        };
        let start = match &chain.base {
            Base::Name(name) => name.start,
            Base::Parens(inside) => inside.start,
        };
        for (at, step) in chain.steps.iter().enumerate() {
            met = match step {
                Step::Field(name) => {
                    let is_used = chain.steps.get(at + 1).is_some();
                    self.field(met, name, &spoken, is_used)
                }
                Step::Index(key) => {
                    self.expr(key);
                    match (met, key.text()) {
                        (Met::Of(kind), Some(key)) => self.known_field(&kind, key),
                        (Met::Of(kind), None) if kind.starts_with("table<string, ") => {
                            self.known_field(&kind, "x")
                        }
                        _ => Met::Unknown,
                    }
                }
                Step::Call(arguments) => self.call(met, arguments, &spoken, start),
                Step::Method(name, arguments) => self.method(met, name, arguments, &spoken, start),
            };
            match step {
                Step::Field(name) => spoken = format!("{spoken}.{}", name.text),
                Step::Index(_) => spoken.push_str("[…]"),
                Step::Call(_) => spoken.push_str("(…)"),
                Step::Method(name, _) => spoken = format!("{spoken}:{}(…)", name.text),
            }
            if spoken.len() > LONGEST_SPOKEN {
                spoken = "…".to_owned();
            }
        }
        met
    }

    /// A name at the beginning of a chain.
    fn base(&mut self, name: &Name, next: Option<&Step>) -> Met<'static> {
        if let Some(local) = self.lookup(&name.text) {
            return match (&local.kind, local.is_function) {
                (Some(kind), _) => Met::Of(kind.clone()),
                (None, true) => Met::Own(local.declared),
                (None, false) => Met::Unknown,
            };
        }
        let text = &*name.text;
        if matches!(text, "_G" | "_ENV") {
            self.seen.touches_globals = true;
            return Met::Unknown;
        }
        // Set by the script, whatever it was before.
        if self.known.globals.contains(text) || self.known.replaces_globals {
            return Met::Unknown;
        }
        if let Some(function) = self.reference.function(text) {
            // What is called and has members as well, such as `scenario`.
            return match next {
                Some(Step::Field(_) | Step::Method(..)) => match self.reference.class_of(text) {
                    Some(class) if class.is_handle => Met::Of(class.name.clone()),
                    _ => Met::Function(function),
                },
                _ => Met::Function(function),
            };
        }
        if let Some(value) = self.reference.values.iter().find(|value| value.name == text) {
            return Met::Of(value.kind.clone());
        }
        if let Some((library, _)) = LIBRARIES.iter().find(|(library, _)| *library == text) {
            return Met::Library(library);
        }
        if GLOBALS.contains(&text) {
            return if matches!(text, "pcall" | "xpcall" | "error" | "assert") {
                Met::Unknown
            } else {
                Met::Lua
            };
        }
        if !self.known.touches_globals {
            self.missing_global(name, next);
        }
        Met::Unknown
    }

    fn missing_global(&mut self, name: &Name, next: Option<&Step>) {
        let text = &*name.text;
        let (start, end) = (name.start, name.end());
        if self.judges && next.is_none() {
            let hint = self.near_global(text);
            let message = format!("nothing sets the global `{text}`, so that it is `nil` here");
            return self.say(Rule::NilGlobal, start, end, message, hint);
        }
        if !self.judges {
            return;
        }
        let message = match self.near_global(text) {
            Some(hint) if !NOT_HERE.contains(&text) => format!("there is no global `{text}`, {hint}"),
            _ => format!("there is no global `{text}`"),
        };
        let hint = NOT_HERE
            .contains(&text)
            .then(|| format!("scenarios have no `{text}`: no files, no processes, no other code"));
        self.say(Rule::UnknownGlobal, start, end, message, hint);
    }

    fn near_global(&self, name: &str) -> Option<String> {
        if OF_TEST.contains(&name) {
            return Some(format!("did you mean `t.{name}`?")).map(|hint| match name {
                "step" | "sleep" => hint.replace("t.", "t:"),
                _ => hint,
            });
        }
        // Anything is near to a name of one or two letters.
        if self.found.len() > MOST_HINTS || name.len() < 3 {
            return (name == "t").then(|| "it is what a scenario's function gets".to_owned());
        }
        let functions = self.reference.functions.iter().map(|function| &*function.name);
        let values = self.reference.values.iter().map(|value| &*value.name);
        let libraries = LIBRARIES.iter().map(|(library, _)| *library);
        let locals = self.locals.iter().map(|local| &*local.name);
        let globals = self.known.globals.iter().map(|name| &**name);
        let known = functions.chain(values).chain(libraries).chain(GLOBALS).chain(locals).chain(globals);
        near(name, known).map(|close| format!("did you mean `{close}`?"))
    }

    fn class(&self, kind: &str) -> Option<&'static Class> {
        self.reference.class(kind.trim_end_matches('?'))
    }

    fn known_field(&self, kind: &str, name: &str) -> Met<'static> {
        self.reference.kind_of_member(kind, name, false).map_or(Met::Unknown, Met::Of)
    }

    /// `is_used`: something is asked of it in turn, so that it must not be `nil`.
    fn field(&mut self, met: Met<'static>, name: &Name, spoken: &str, is_used: bool) -> Met<'static> {
        match met {
            Met::Of(kind) => {
                if let Some(class) = self.class(&kind).filter(|class| class.is_handle) {
                    if let Some(method) = self.reference.method(class, &name.text) {
                        return Met::Function(method);
                    }
                    if self.reference.field(class, &name.text).is_none() {
                        self.missing_member(class, name, spoken);
                    }
                }
                self.known_field(&kind, &name.text)
            }
            Met::Library(library) => {
                let members =
                    LIBRARIES.iter().find(|(known, _)| *known == library).map_or(&[][..], |found| found.1);
                let is_probed = self.known.globals.contains(format!("{library}.{}", name.text).as_str());
                if !members.contains(&&*name.text) && is_used && !is_probed {
                    let close = near(&name.text, members.iter().copied());
                    let message = match close {
                        Some(close) => format!("`{library}` has no `{}`, did you mean `{close}`?", name.text),
                        None => format!("`{library}` has no `{}`", name.text),
                    };
                    let hint = close.is_none().then(|| format!("{library} has {}", members.join(", ")));
                    self.say(Rule::UnknownMember, name.start, name.end(), message, hint);
                }
                Met::Lua
            }
            _ => Met::Unknown,
        }
    }

    fn missing_member(&mut self, class: &Class, name: &Name, spoken: &str) {
        let fields = self.reference.fields(class);
        let methods = class.methods.iter().map(|method| &*method.name);
        let members: Vec<&str> = methods.chain(fields.iter().map(|field| &*field.name)).collect();
        let close = near(&name.text, members.iter().copied());
        let message = match close {
            Some(close) => format!("`{spoken}` has no `{}`, did you mean `{close}`?", name.text),
            None => format!("`{spoken}` has no `{}`", name.text),
        };
        let hint = match members.as_slice() {
            _ if close.is_some() => None,
            [] => Some("nothing can be asked of it".to_owned()),
            members => Some(format!("{} has {}", class.what, members.join(", "))),
        };
        self.say(Rule::UnknownMember, name.start, name.end(), message, hint);
    }

    fn method(
        &mut self,
        met: Met<'static>,
        name: &Name,
        arguments: &[Expr],
        spoken: &str,
        start: usize,
    ) -> Met<'static> {
        let Met::Of(kind) = met else {
            // `text:upper()`, or anything else.
            self.exprs(arguments);
            self.looks();
            return Met::Unknown;
        };
        let Some(class) = self.class(&kind).filter(|class| class.is_handle) else {
            self.exprs(arguments);
            self.looks();
            return Met::Unknown;
        };
        let Some(method) = self.reference.method(class, &name.text) else {
            if self.reference.field(class, &name.text).is_some() {
                let message = format!("`{spoken}.{}` is no method, and is not called", name.text);
                self.say(Rule::UnknownMember, name.start, name.end(), message, None);
            } else {
                self.missing_member(class, name, spoken);
            }
            self.exprs(arguments);
            self.looks();
            return Met::Unknown;
        };
        self.arguments(method, arguments, class);
        let end = name.end();
        let said = format!("{spoken}:{}", name.text);
        self.tell(class, method, start, end, &said);
        method.returns.first().map_or(Met::Unknown, |kind| Met::Of(kind.clone()))
    }

    fn call(&mut self, met: Met<'static>, arguments: &[Expr], spoken: &str, start: usize) -> Met<'static> {
        match met {
            Met::Function(function) if function.takes_colon() => {
                let is_plain = |value: Option<&Value>| {
                    matches!(
                        value,
                        Some(Value::Plain | Value::String(_) | Value::Table(_) | Value::Function(_))
                    )
                };
                if arguments.first().is_none_or(|first| is_plain(first.sole())) {
                    let colon = spoken.rsplit_once('.').map(|(owner, name)| format!("{owner}:{name}"));
                    let message = format!("`{spoken}` is called without its object");
                    let hint = colon.map(|colon| format!("methods are called with a colon: `{colon}(…)`"));
                    self.say(Rule::DotCall, start, start + spoken.len(), message, hint);
                }
                self.exprs(arguments);
                self.looks();
                Met::Unknown
            }
            Met::Function(function) => {
                let class = Class::default();
                self.arguments(function, arguments, &class);
                let is_scenario = function.options.as_deref() == Some("backstaff.ScenarioOptions");
                if is_scenario
                    && self.depth == 0
                    && let Some(name) = arguments.first()
                    && let Some(text) = name.text()
                {
                    self.declared.push((text.to_owned(), name.start, name.end));
                }
                if !NEUTRAL_GLOBALS.contains(&&*function.name) {
                    self.looks();
                }
                function.returns.first().map_or(Met::Unknown, |kind| Met::Of(kind.clone()))
            }
            Met::Own(declared) => {
                let kinds: Vec<Option<Kind>> = arguments.iter().map(|argument| self.expr(argument)).collect();
                self.hand_over(declared, kinds);
                self.looks();
                Met::Unknown
            }
            Met::Lua => {
                if let [first] = arguments {
                    // `type(name)` asks.
                    self.probe(first);
                }
                self.exprs(arguments);
                Met::Unknown
            }
            Met::Of(_) | Met::Library(_) | Met::Unknown => {
                self.exprs(arguments);
                self.looks();
                Met::Unknown
            }
        }
    }

    /// Notes what a local function is given. Two different things are nothing that can be relied on.
    fn hand_over(&mut self, declared: usize, kinds: Vec<Option<Kind>>) {
        match self.seen.arguments.entry(declared) {
            std::collections::hash_map::Entry::Vacant(entry) => drop(entry.insert(kinds)),
            std::collections::hash_map::Entry::Occupied(mut entry) => {
                let known = entry.get_mut();
                for (at, kind) in known.iter_mut().enumerate() {
                    if kind.as_ref() != kinds.get(at).and_then(Option::as_ref) {
                        *kind = None;
                    }
                }
            }
        }
    }

    /// The arguments of a function of the API.
    fn arguments(&mut self, function: &'static reference::Function, arguments: &[Expr], class: &Class) {
        let is_scenario = function.options.as_deref() == Some("backstaff.ScenarioOptions");
        // Where an option table may be left out before another argument, what follows moves up.
        let moved = function.params.iter().position(|param| param.name == "options").filter(|at| {
            let value = arguments.get(*at).and_then(Expr::sole);
            let is_short =
                arguments.len() + 1 == function.params.len() && !matches!(value, Some(Value::Table(_)));
            function.params.len() > at + 1 && (is_short || matches!(value, Some(Value::Function(_))))
        });
        let mut params: Vec<&reference::Param> = function.params.iter().collect();
        if let Some(at) = moved {
            params.remove(at);
        }
        for (at, argument) in arguments.iter().enumerate() {
            let kind = params.get(at).map_or("", |param| &*param.kind);
            match argument.sole() {
                Some(Value::Function(body)) => {
                    let kinds: Vec<Option<Kind>> =
                        self.reference.callback_params(kind).into_iter().map(Some).collect();
                    let is_step = class.name == "backstaff.Test" && function.name == "step";
                    match (is_step, &mut self.story) {
                        (true, Some(story)) => {
                            let around = story.enter();
                            self.plain_function(body, kinds, false);
                            if let Some(story) = &mut self.story {
                                story.leave(around);
                            }
                        }
                        _ => self.function(body, kinds, false, is_scenario),
                    }
                }
                Some(Value::Table(table)) => {
                    self.value(&argument.first.value);
                    self.table(table, kind, &function.spoken);
                }
                Some(Value::Chain(Chain { base: Base::Name(name), steps })) if steps.is_empty() => {
                    let own =
                        self.lookup(&name.text).filter(|local| local.is_function).map(|local| local.declared);
                    match own {
                        Some(declared) => {
                            let kinds = self.reference.callback_params(kind).into_iter().map(Some).collect();
                            self.hand_over(declared, kinds);
                            if is_scenario {
                                self.seen.bodies.insert(declared);
                            }
                            // What it does is not in this place of the text.
                            self.looks();
                        }
                        None => drop(self.expr(argument)),
                    }
                }
                _ => {
                    self.expr(argument);
                    self.word(argument, kind, &function.spoken);
                }
            }
        }
    }

    /// A table that is written out where a call wants one of a type.
    fn table(&mut self, table: &super::syntax::Table, kind: &str, spoken: &str) {
        if let Some(items) = kind.strip_suffix("[]") {
            for item in table.items.iter().filter(|item| matches!(item.key, Key::None)) {
                self.word(&item.value, items, spoken);
            }
            return;
        }
        let mut classes = kind.split('|').filter_map(|kind| self.class(kind));
        let closed = classes.find(|class| class.is_options || class.name == "backstaff.Streams");
        let Some(class) = closed else { return };
        let fields = self.reference.fields(class);
        for item in &table.items {
            let (key, start, end) = match &item.key {
                Key::Name(name) => (&*name.text, name.start, name.end()),
                Key::Computed(key) => match key.text() {
                    Some(text) => (text, key.start, key.end),
                    None => continue,
                },
                Key::None => continue,
            };
            let Some(field) = fields.iter().find(|field| field.name == key) else {
                let names: Vec<&str> = fields.iter().map(|field| &*field.name).collect();
                let close = near(key, names.iter().copied());
                let message = match close {
                    Some(close) => format!("{spoken}: unknown option `{key}`, did you mean `{close}`?"),
                    None => format!("{spoken}: unknown option `{key}`"),
                };
                let hint = close.is_none().then(|| format!("known options: {}", names.join(", ")));
                self.say(Rule::UnknownOption, start, end, message, hint);
                continue;
            };
            match item.value.sole() {
                Some(Value::Table(inner)) => self.table(inner, &field.kind, spoken),
                _ => self.word(&item.value, &field.kind, spoken),
            }
        }
    }

    /// A text that is written out where only certain words will do.
    fn word(&mut self, expr: &Expr, kind: &str, spoken: &str) {
        let Some(text) = expr.text() else { return };
        let Some(choices) = self.reference.choices(kind) else { return };
        if choices.iter().any(|choice| choice == text) {
            return;
        }
        let close = near(text, choices.iter().map(String::as_str));
        let message = match close {
            Some(close) => format!("{spoken}: there is no \"{text}\", did you mean \"{close}\"?"),
            None => format!("{spoken}: there is no \"{text}\""),
        };
        let hint = close.is_none().then(|| format!("it takes {}", choices.join(", ")));
        self.say(Rule::UnknownChoice, expr.start, expr.end, message, hint);
    }

    /// What a method of the API means for the story.
    fn tell(&mut self, class: &Class, method: &reference::Function, start: usize, end: usize, said: &str) {
        let Some(story) = &mut self.story else { return };
        let class = class.name.strip_prefix("backstaff.").unwrap_or_default();
        let name = &*method.name;
        let is =
            |list: &[(&str, &[&str])]| list.iter().any(|(of, names)| *of == class && names.contains(&name));
        if is(&INPUTS) {
            story.input(start, end, said);
        } else if is(&BESIDE) {
            story.beside();
        } else if !is(&NEUTRAL) {
            story.look();
        }
    }

    /// Something that cannot be followed may wait for anything.
    fn looks(&mut self) {
        if let Some(story) = &mut self.story {
            story.look();
        }
    }

    fn duplicates(&mut self) {
        let declared = std::mem::take(&mut self.declared);
        let lines = super::place::Lines::new(self.source);
        let mut first: HashMap<&str, usize> = HashMap::new();
        for (name, start, end) in &declared {
            match first.get(&**name) {
                Some(at) => {
                    let line = lines.line_of(*at);
                    let message = format!("a scenario named {name:?} is declared already in line {line}");
                    let hint = "reports and filters tell scenarios by their names".to_owned();
                    self.say(Rule::DuplicateName, *start, *end, message, Some(hint));
                }
                None => drop(first.insert(name, *start)),
            }
        }
    }
}

/// Hands every function to `visit` that is written out in a statement, but not those inside such functions.
pub(super) fn each_function<'a>(statement: &'a Statement, visit: &mut dyn FnMut(&'a Function)) {
    match &statement.kind {
        StatementKind::Local { values, .. }
        | StatementKind::Return(values)
        | StatementKind::For { values, .. } => {
            values.iter().for_each(|value| in_expr(value, visit));
        }
        StatementKind::Assign { targets, values } => {
            targets.iter().chain(values).for_each(|value| in_expr(value, visit));
        }
        StatementKind::Call(expr) => in_expr(expr, visit),
        StatementKind::While { condition, .. } | StatementKind::Repeat { condition, .. } => {
            in_expr(condition, visit)
        }
        StatementKind::If { branches, .. } => {
            branches.iter().for_each(|(condition, _)| in_expr(condition, visit));
        }
        _ => {}
    }
}

fn in_expr<'a>(expr: &'a Expr, visit: &mut dyn FnMut(&'a Function)) {
    let operands = std::iter::once(&expr.first).chain(expr.others.iter().map(|(_, operand)| operand));
    for operand in operands {
        match &operand.value {
            Value::Function(function) => visit(function),
            Value::Table(table) => {
                for item in &table.items {
                    if let Key::Computed(key) = &item.key {
                        in_expr(key, visit);
                    }
                    in_expr(&item.value, visit);
                }
            }
            Value::Chain(chain) => {
                if let Base::Parens(inside) = &chain.base {
                    in_expr(inside, visit);
                }
                for step in &chain.steps {
                    match step {
                        Step::Field(_) => {}
                        Step::Index(key) => in_expr(key, visit),
                        Step::Call(arguments) | Step::Method(_, arguments) => {
                            arguments.iter().for_each(|argument| in_expr(argument, visit));
                        }
                    }
                }
            }
            Value::Plain | Value::String(_) | Value::Varargs => {}
        }
    }
}

/// Methods that give the machine something to react to.
const INPUTS: [(&str, &[&str]); 2] =
    [("Keyboard", &["press", "type", "paste", "down"]), ("Mouse", &["click", "drag", "scroll", "down"])];
/// Methods that neither give nor wait.
const NEUTRAL: [(&str, &[&str]); 4] = [
    ("Keyboard", &["up", "layout", "leds"]),
    ("Mouse", &["up", "move", "move_by"]),
    ("Test", &["step", "log", "warn", "sleep", "attach"]),
    ("Lane", &["name", "folder", "capabilities"]),
];
/// Methods whose functions run at another time than their place in the text says.
const BESIDE: [(&str, &[&str]); 1] = [("Test", &["spawn", "always", "defer", "all", "race"])];
/// Global functions that neither give nor wait.
const NEUTRAL_GLOBALS: [&str; 8] =
    ["print", "at_least", "at_most", "one_of", "pattern", "never", "never_decreases", "increases"];
/// More than anybody reads; the rest is only counted.
const MOST_RAW: usize = 10_000;
/// Findings whose names are compared with all that there are.
const MOST_HINTS: usize = 200;
/// Bytes of a chain that are repeated in a message.
const LONGEST_SPOKEN: usize = 60;

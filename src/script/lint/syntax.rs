//! A Lua 5.4 program as a tree. Chains and operators are flat lists, so that only what Lua itself limits nests: no program
//! that Lua takes is too deep for this tree, or for what drops it.

/// A program, with its comments in their order.
#[derive(Debug, Default)]
pub(super) struct Program {
    pub(super) block: Block,
    pub(super) comments: Vec<Comment>,
}

/// What stands after `--`, with the brackets of a long one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Comment {
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) statements: Vec<Statement>,
}

#[derive(Debug)]
pub(super) struct Statement {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) kind: StatementKind,
}

#[derive(Debug)]
pub(super) enum StatementKind {
    Local {
        names: Vec<Name>,
        values: Vec<Expr>,
    },
    Assign {
        targets: Vec<Expr>,
        values: Vec<Expr>,
    },
    Call(Expr),
    Do(Block),
    While {
        condition: Expr,
        block: Block,
    },
    Repeat {
        block: Block,
        condition: Expr,
    },
    /// Conditions with their blocks, and that of `else`.
    If {
        branches: Vec<(Expr, Block)>,
        otherwise: Option<Block>,
    },
    /// `for NAMES in VALUES`, or `for NAME = VALUES`.
    For {
        names: Vec<Name>,
        values: Vec<Expr>,
        block: Block,
    },
    Function {
        target: Chain,
        is_method: bool,
        function: Function,
    },
    LocalFunction {
        name: Name,
        function: Function,
    },
    Return(Vec<Expr>),
    Goto,
    /// `break`, a label, a semicolon.
    Nothing,
}

#[derive(Debug, Clone)]
pub(super) struct Name {
    pub(super) text: Box<str>,
    pub(super) start: usize,
}

impl Name {
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

/// Operands with the operators between them; which binds stronger is nobody's question here.
#[derive(Debug)]
pub(super) struct Expr {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) first: Operand,
    pub(super) others: Vec<(Operator, Operand)>,
}

impl Expr {
    /// The value, when that is all there is.
    pub(super) fn sole(&self) -> Option<&Value> {
        (self.others.is_empty() && self.first.unary.is_none()).then_some(&self.first.value)
    }

    /// A text that is written out.
    pub(super) fn text(&self) -> Option<&str> {
        match self.sole() {
            Some(Value::String(text)) => text.as_deref(),
            _ => None,
        }
    }
}

/// What matters of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    /// `and`, `or`, `==`, `~=`: a value that may be missing is as good as any.
    Probing,
    Other,
}

#[derive(Debug)]
pub(super) struct Operand {
    /// The first of its unary operators.
    pub(super) unary: Option<Operator>,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    /// `nil`, booleans, numbers.
    Plain,
    /// Its text, unless an escape makes it something else than UTF-8.
    String(Option<Box<str>>),
    Varargs,
    Function(Box<Function>),
    Table(Table),
    Chain(Chain),
}

/// A name or an expression in brackets, and what follows it.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) base: Base,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug)]
pub(super) enum Base {
    Name(Name),
    Parens(Box<Expr>),
}

#[derive(Debug)]
pub(super) enum Step {
    /// `.name`
    Field(Name),
    /// `[expression]`
    Index(Box<Expr>),
    /// `(…)`, or a string or a table
    Call(Vec<Expr>),
    /// `:name(…)`
    Method(Name, Vec<Expr>),
}

#[derive(Debug)]
pub(super) struct Table {
    pub(super) items: Vec<Item>,
}

#[derive(Debug)]
pub(super) struct Item {
    pub(super) key: Key,
    pub(super) value: Expr,
}

#[derive(Debug)]
pub(super) enum Key {
    None,
    Name(Name),
    Computed(Expr),
}

#[derive(Debug)]
pub(super) struct Function {
    pub(super) params: Vec<Name>,
    pub(super) block: Block,
}

//! The globals that Lua itself gives a script in the sandbox. A test asks a sandbox whether these are all.

/// Functions and values.
pub(super) const GLOBALS: [&str; 21] = [
    "_G",
    "_VERSION",
    "assert",
    "error",
    "getmetatable",
    "ipairs",
    "next",
    "pairs",
    "pcall",
    "print",
    "rawequal",
    "rawget",
    "rawlen",
    "rawset",
    "select",
    "setmetatable",
    "tonumber",
    "tostring",
    "type",
    "xpcall",
    "_ENV",
];

/// Libraries and what they hold.
pub(super) const LIBRARIES: [(&str, &[&str]); 5] = [
    ("coroutine", &["close", "create", "isyieldable", "resume", "running", "status", "wrap", "yield"]),
    (
        "math",
        &[
            "abs",
            "acos",
            "asin",
            "atan",
            "atan2",
            "ceil",
            "cos",
            "cosh",
            "deg",
            "exp",
            "floor",
            "fmod",
            "frexp",
            "huge",
            "ldexp",
            "log",
            "log10",
            "max",
            "maxinteger",
            "min",
            "mininteger",
            "modf",
            "pi",
            "pow",
            "rad",
            "random",
            "randomseed",
            "sin",
            "sinh",
            "sqrt",
            "tan",
            "tanh",
            "tointeger",
            "type",
            "ult",
        ],
    ),
    (
        "string",
        &[
            "byte", "char", "find", "format", "gmatch", "gsub", "len", "lower", "match", "pack", "packsize",
            "rep", "reverse", "sub", "unpack", "upper",
        ],
    ),
    ("table", &["concat", "insert", "move", "pack", "remove", "sort", "unpack"]),
    ("utf8", &["char", "charpattern", "codepoint", "codes", "len", "offset"]),
];

/// What Lua elsewhere has, and scripts here have not.
pub(super) const NOT_HERE: [&str; 10] =
    ["io", "os", "debug", "package", "require", "dofile", "loadfile", "load", "loadstring", "collectgarbage"];

/// What a global of the test's own function is called by those who forget the `t.`.
pub(super) const OF_TEST: [&str; 11] =
    ["keyboard", "mouse", "digest", "serial", "screen", "agent", "lane", "lanes", "params", "step", "sleep"];

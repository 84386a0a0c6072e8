mod attempt;
mod machine;
mod meta;

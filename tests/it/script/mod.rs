mod attempt;
mod machine;
mod meta;
mod mistakes;

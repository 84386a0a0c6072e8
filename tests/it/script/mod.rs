mod attempt;
mod machine;
mod mistakes;

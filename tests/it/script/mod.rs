mod attempt;
mod machine;

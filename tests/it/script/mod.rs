mod attempt;
mod evidence;
mod machine;
mod meta;
mod mistakes;

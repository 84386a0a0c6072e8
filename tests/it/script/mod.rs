mod attempt;
mod declare;
mod evidence;
mod machine;
mod meta;
mod mistakes;

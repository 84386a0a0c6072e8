mod image;
mod symbol;

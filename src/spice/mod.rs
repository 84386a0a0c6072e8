//! (filled by the first module that lands here)

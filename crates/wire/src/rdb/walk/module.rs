//! The layout of a module's value: its id, then values that each say what they are. No module need
//! be known to find the end.

use super::super::error::Fault;
use super::super::reader::{Reader, Stop};

/// See the module's documentation.
#[derive(Debug)]
pub(in crate::rdb) struct ModuleWalk(State);

#[derive(Clone, Copy, Debug)]
enum State {
    Id,
    Values,
    Done,
}

// === impl ModuleWalk ===

impl ModuleWalk {
    pub(super) fn new() -> Self {
        Self(State::Id)
    }

    /// Passes over the next unit; `false` at the end.
    pub(super) fn next(&mut self, reader: &mut Reader<'_>) -> Result<bool, Stop> {
        match self.0 {
            State::Id => {
                reader.len()?;
                self.0 = State::Values;
            }
            State::Values => {
                if !value(reader)? {
                    self.0 = State::Done;
                }
            }
            State::Done => return Ok(false),
        }
        Ok(true)
    }
}

/// Passes over values up to and including the mark that ends them.
pub(in crate::rdb) fn values(reader: &mut Reader<'_>) -> Result<(), Stop> {
    while value(reader)? {}
    Ok(())
}

/// Passes over one value; `false` if it was the mark that ends them.
fn value(reader: &mut Reader<'_>) -> Result<bool, Stop> {
    let at = reader.position();
    match reader.len()? {
        0 => return Ok(false),
        1 | 2 => drop(reader.len()?),
        3 => drop(reader.array::<4>()?),
        4 => drop(reader.array::<8>()?),
        5 => drop(reader.text()?),
        opcode => return Err(reader.bad_at(at, Fault::ModuleOpcode(opcode))),
    }
    Ok(true)
}

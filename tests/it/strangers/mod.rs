//! What others can cause: time of the processor, places, mails, dead letters, and what an
//! operator's terminal shows.

mod costs;
mod mails;
mod memory;
mod places;
mod terminal;

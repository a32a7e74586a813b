//! One suite for all queues, one for all dedupe stores: whatever stands behind a port must behave alike.

mod dedupe;
mod once;
mod queue;

//! How long a task may go on while its client's bytes keep coming: for runtimes that do not see to that themselves.

/// Half of tokio's budget of 128 operations, since an echo is two.
const READS: u32 = 64;

/// Counts the reads of one task on a runtime that switches tasks only where one waits. Beside a client that streams without
/// pause, whose task never waits, the others would wait instead (rule 3).
#[derive(Debug, Default)]
pub struct Turn {
    reads: u32,
}

impl Turn {
    /// To be asked after each echo; true when it is time to let other tasks run, as the runtime has it done.
    #[inline]
    #[must_use]
    pub fn is_over(&mut self) -> bool {
        self.reads += 1;
        let is_over = self.reads == READS;
        if is_over {
            self.reads = 0;
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sixty_fourth_read_ends_a_turn() {
        let mut turn = Turn::default();
        let ends: Vec<u32> = (1..=200).filter(|_| turn.is_over()).collect();
        assert_eq!(ends, [64, 128, 192]);
    }
}

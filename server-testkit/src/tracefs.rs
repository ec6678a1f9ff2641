//! Counting system calls needs tracefs, which a machine may not have mounted.

use std::process::Command;

/// The program with tracefs mounted in a mount namespace of its own, so that the machine stays as it is; none where that is
/// not permitted.
#[must_use]
pub fn with_tracefs(program: &Command) -> Option<Command> {
    let in_namespace = |program: &Command| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c"]);
        command.arg("mount -t tracefs tracefs /sys/kernel/tracing && exec \"$0\" \"$@\"");
        command.arg(program.get_program()).args(program.get_args());
        command
    };
    let tried = in_namespace(&Command::new("true")).output();
    tried
        .is_ok_and(|output| output.status.success())
        .then(|| in_namespace(program))
}

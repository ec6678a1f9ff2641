//! What a mistyped or impossible command line is told: the whole text and the exit code, pinned.

#[test]
fn bad_command_lines_are_told_what_is_wrong_and_how_to_mend_it() {
    trycmd::TestCases::new().case("tests/cmd/*.trycmd");
}

//! A guard and nothing else, so that the tests of this crate stand alone. The real one is `unknot __guard`.

fn main() -> std::process::ExitCode {
    unknot_hands::guard::main()
}

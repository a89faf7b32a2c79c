//! The code in README.md is that of the examples, which are compiled and run.

use std::fs;
use std::path::Path;

/// Without the indentation.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).collect()
}

#[test]
fn code_in_the_readme_stands_in_an_example_and_a_side_has_ten_lines_at_most() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let mut blocks = Vec::new();
    let mut parts = readme.split("```rust\n");
    let mut before = parts.next().unwrap();
    for part in parts {
        let (code, after) = part.split_once("```").expect("the end of a block");
        let name = before.trim_end().rsplit_once("<!-- ").and_then(|(_, name)| name.strip_suffix(" -->"));
        blocks.push((name.expect("each block names its example"), lines(code)));
        before = after;
    }
    for (name, code) in &blocks {
        let example = fs::read_to_string(root.join(name)).unwrap();
        let is_there = lines(&example).windows(code.len()).any(|window| window == code);
        assert!(is_there, "this is not in {name}:\n{}", code.join("\n"));
        assert!(code.len() <= 10, "{name}");
    }
    // The declaration, the firmware side, and the host side with tokio and without.
    assert_eq!(blocks.len(), 4);
}

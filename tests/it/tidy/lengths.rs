//! Short files and short functions.

use super::{files, read};

/// The value that a share of the sorted values does not exceed.
fn quantile(sorted: &[usize], hundredths: usize) -> usize {
    sorted[(sorted.len() * hundredths / 100).min(sorted.len() - 1)]
}

#[test]
fn files_say_what_they_are_for_and_stay_short() {
    let mut lengths = Vec::new();
    for file in files(".rs") {
        let text = read(&file);
        assert!(text.starts_with("//! "), "{} does not say what it is for", file.display());
        let lines = text.lines().count();
        assert!(lines <= 400, "{} has {lines} lines, more than 400", file.display());
        lengths.push(lines);
    }
    lengths.sort_unstable();
    let (median, most) = (quantile(&lengths, 50), quantile(&lengths, 95));
    assert!(median <= 110 && most <= 280, "median {median} lines, 95th percentile {most} lines");
}

/// The lengths of the functions in formatted source, signature and closing brace included.
fn functions(text: &str) -> Vec<usize> {
    let lines: Vec<&str> = text.lines().collect();
    let mut lengths = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let head = code.split_once("fn ").map(|(before, _)| before);
        let is_function = head.is_some_and(|before| {
            before.split_whitespace().all(|word| {
                word.starts_with("pub") || matches!(word, "const" | "async" | "in" | "super)")
            })
        });
        if is_function && !line.ends_with(';') {
            let end = format!("{}}}", &line[..line.len() - code.len()]);
            let rest = lines[start..].iter().position(|line| line.starts_with(&end));
            lengths.push(if line.ends_with('}') { 1 } else { rest.unwrap_or(0) + 1 });
        }
    }
    lengths
}

#[test]
fn functions_stay_short() {
    let mut lengths: Vec<usize> =
        files(".rs").iter().flat_map(|file| functions(&read(file))).collect();
    lengths.sort_unstable();
    let most = quantile(&lengths, 95);
    assert!(lengths.len() > 1000 && most <= 30, "95th percentile {most} of {}", lengths.len());
}

#[test]
fn functions_are_measured_from_signature_to_brace() {
    let text = "fn one() {}\n\npub async fn four(\n    a: u8,\n) -> u8 {\n    a\n}\n\ntrait T {\n    fn none();\n}\n";
    assert_eq!(functions(text), [1, 5]);
}

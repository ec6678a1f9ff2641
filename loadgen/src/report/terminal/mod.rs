//! Text for a terminal: the summary of one trial, the tables of a suite. Plain ASCII without colour, so that it can be
//! piped, mailed and compared.

mod suite;
mod trial;

pub use suite::{findings, not_counted, suite, workload};
pub use trial::summary;

use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

/// The sentence in lines of this width, each indented: `first` blanks before the first, `next` before the others. Words
/// stay whole, and so do a figure and its percent sign; blanks between words are as many as there are.
pub(super) fn wrapped(sentence: &str, first: usize, next: usize, width: u16) -> String {
    let (first, next) = (" ".repeat(first), " ".repeat(next));
    let options = Options::new(usize::from(width))
        .initial_indent(&first)
        .subsequent_indent(&next)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit)
        .break_words(false);
    let kept = sentence.replace(" %", "\u{a0}%");
    textwrap::fill(&kept, options).replace('\u{a0}', " ") + "\n"
}

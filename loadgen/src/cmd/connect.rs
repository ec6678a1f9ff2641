//! `loadgen connect`: type lines by hand and see them come back. Ctrl-D ends.

use crate::failure::{Exit, Failure};
use std::io::{BufRead, IsTerminal as _, Read as _, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Sends each line of `input` and prints its echo, until the input ends.
///
/// # Errors
/// When the server cannot be reached, does not answer in time, goes away, or answers with other bytes.
pub fn run(
    address: SocketAddr,
    timeout: Duration,
    input: &mut dyn BufRead,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)
        .map_err(|error| Failure::unreachable(format!("cannot connect to {address}: {error}")))?;
    let told = stream
        .set_nodelay(true)
        .and_then(|()| stream.set_read_timeout(Some(timeout)));
    told.map_err(|error| Failure::fault(format!("socket options: {error}")))?;
    let interactive = std::io::stdin().is_terminal();
    let mut line = Vec::new();
    loop {
        if interactive {
            print_to(output, format_args!("> "))?;
        }
        line.clear();
        let typed = input.read_until(b'\n', &mut line);
        if typed.map_err(|error| Failure::fault(format!("reading what was typed: {error}")))? == 0 {
            break;
        }
        if line.last() != Some(&b'\n') {
            line.push(b'\n');
        }
        let sent = Instant::now();
        let echo = exchange(&mut stream, &line).map_err(|error| lost(address, timeout, &error))?;
        let took_us = sent.elapsed().as_micros();
        if echo != line {
            return Err(Failure::new(
                Exit::Corrupted,
                format!("{address} is no echo: sent {:?}, got {:?}", text(&line), text(&echo)),
            ));
        }
        print_to(output, format_args!("{}  ({took_us} us)\n", text(&echo)))?;
    }
    // What the peer does with our FIN changes nothing any more.
    let _ = stream.shutdown(Shutdown::Write);
    if interactive {
        print_to(output, format_args!("\n"))?;
    }
    Ok(())
}

fn exchange(stream: &mut TcpStream, line: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(line)?;
    let mut echo = vec![0; line.len()];
    stream.read_exact(&mut echo)?;
    Ok(echo)
}

fn lost(address: SocketAddr, timeout: Duration, error: &std::io::Error) -> Failure {
    use std::io::ErrorKind::{TimedOut, UnexpectedEof, WouldBlock};
    let why = match error.kind() {
        UnexpectedEof => "closed the connection before the echo was whole".to_string(),
        WouldBlock | TimedOut => format!("sent no whole echo within {} s (--timeout)", timeout.as_secs_f64()),
        _ => format!("went away: {error}"),
    };
    Failure::unreachable(format!("{address} {why}"))
}

fn print_to(output: &mut dyn Write, text: std::fmt::Arguments<'_>) -> Result<(), Failure> {
    let written = output.write_fmt(text).and_then(|()| output.flush());
    written.map_err(|error| Failure::unwritable(format!("printing: {error}")))
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn server(answer: fn(&[u8]) -> Vec<u8>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 100];
            while let Ok(bytes @ 1..) = stream.read(&mut buffer) {
                let _ = stream.write_all(&answer(&buffer[..bytes]));
            }
        });
        address
    }

    fn type_lines(address: SocketAddr, lines: &str) -> (Result<(), Failure>, String) {
        let mut output = Vec::new();
        let ended = run(address, Duration::from_secs(10), &mut lines.as_bytes(), &mut output);
        (ended, String::from_utf8(output).unwrap())
    }

    #[test]
    fn lines_come_back_and_the_end_of_input_ends() {
        let (ended, output) = type_lines(server(<[u8]>::to_vec), "hello\nlast without newline");
        ended.unwrap();
        let lines: Vec<_> = output.lines().map(|line| line.split("  (").next().unwrap()).collect();
        assert_eq!(lines, ["hello", "last without newline"]);
    }

    #[test]
    fn a_server_that_is_no_echo_is_told_so() {
        let (ended, _) = type_lines(server(|bytes| bytes.to_ascii_uppercase()), "hello\n");
        let failure = ended.unwrap_err();
        assert_eq!(failure.exit, Exit::Corrupted);
        assert!(
            failure.text.ends_with(r#"is no echo: sent "hello", got "HELLO""#),
            "{}",
            failure.text
        );
    }
}

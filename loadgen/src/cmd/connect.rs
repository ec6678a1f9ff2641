//! `loadgen connect`: type lines by hand and see them come back. Ctrl-D ends.

use crate::cmd::arguments::ConnectArgs;
use crate::failure::{Exit, Failure};
use std::io::{BufRead, ErrorKind, IsTerminal as _, Read as _, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Most bytes of a line that a message about it shows.
const SHOWN_BYTES: usize = 200;

/// Who is to be talked to, in the words of `--target`.
///
/// # Errors
/// Usage, when nobody is named.
pub fn target(args: &ConnectArgs) -> Result<String, Failure> {
    Ok(match (&args.target, args.host.as_deref().map(str::trim), args.port) {
        (Some(target), _, _) => target.clone(),
        (None, Some(host), None) => host.to_owned(),
        // Its own colons would be taken for the one before a port.
        (None, Some(host), Some(port)) if host.contains(':') && !host.starts_with('[') => format!("[{host}]:{port}"),
        (None, Some(host), Some(port)) => format!("{host}:{port}"),
        _ => return Err(Failure::usage("connect to what? Give HOST PORT, or --target NAME")),
    })
}

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
    let stream = TcpStream::connect_timeout(&address, timeout)
        .map_err(|error| Failure::unreachable(format!("cannot connect to {address}: {error}")))?;
    let told = stream
        .set_nodelay(true)
        .and_then(|()| stream.set_read_timeout(Some(timeout)))
        .and_then(|()| stream.set_write_timeout(Some(timeout)));
    told.map_err(|error| Failure::fault(format!("socket options: {error}")))?;
    let interactive = std::io::stdin().is_terminal();
    let mut line = Vec::new();
    loop {
        if interactive && !print_to(output, b"> ")? {
            break;
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
        exchange(&stream, &line).map_err(|wrong| wrong.of(address, timeout, &line))?;
        let took_us = sent.elapsed().as_micros();
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        if !print_to(output, text)? || !print_to(output, format!("  ({took_us} us)\n").as_bytes())? {
            break;
        }
    }
    // What the peer does with our FIN changes nothing any more.
    let _ = stream.shutdown(Shutdown::Write);
    if interactive {
        print_to(output, b"\n")?;
    }
    Ok(())
}

/// What is wrong with an echo.
enum Wrong {
    Lost(std::io::Error),
    /// Other bytes came, from this place of the line on.
    Other(usize, Vec<u8>),
}

/// Sends a line and reads its echo at the same time: a server that echoes as it reads has nowhere to put a long line
/// while nobody takes what it sends.
fn exchange(stream: &TcpStream, line: &[u8]) -> Result<(), Wrong> {
    thread::scope(|scope| {
        let writer = scope.spawn(|| (&*stream).write_all(line));
        let read = read_echo(stream, line);
        if read.is_err() {
            // Wakes the writer, if it waits for room.
            let _ = stream.shutdown(Shutdown::Both);
        }
        let written = writer.join().unwrap_or_else(|_| Err(ErrorKind::Other.into()));
        read.and(written.map_err(Wrong::Lost))
    })
}

fn read_echo(mut stream: &TcpStream, line: &[u8]) -> Result<(), Wrong> {
    let mut buffer = vec![0; line.len().min(1 << 16)];
    let mut length = 0;
    while length < line.len() {
        let most = buffer.len().min(line.len() - length);
        match stream.read(&mut buffer[..most]) {
            Ok(0) => return Err(Wrong::Lost(ErrorKind::UnexpectedEof.into())),
            Ok(more) if buffer[..more] != line[length..length + more] => {
                return Err(Wrong::Other(length, buffer[..more].to_vec()));
            }
            Ok(more) => length += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Wrong::Lost(error)),
        }
    }
    Ok(())
}

impl Wrong {
    fn of(self, address: SocketAddr, timeout: Duration, line: &[u8]) -> Failure {
        match self {
            Self::Lost(error) => lost(address, timeout, &error),
            Self::Other(place, got) => {
                let sent = &line[place..];
                let (sent, got) = (text(&sent[..sent.len().min(got.len())]), text(&got));
                let place = if place == 0 {
                    String::new()
                } else {
                    format!(" after {place} bytes that were right")
                };
                Failure::new(
                    Exit::Corrupted,
                    format!("{address} is no echo: sent {sent:?}, got {got:?}{place}"),
                )
            }
        }
    }
}

fn lost(address: SocketAddr, timeout: Duration, error: &std::io::Error) -> Failure {
    use ErrorKind::{TimedOut, UnexpectedEof, WouldBlock};
    let why = match error.kind() {
        UnexpectedEof => "closed the connection before the echo was whole".to_string(),
        WouldBlock | TimedOut => format!("sent no whole echo within {} s (--timeout)", timeout.as_secs_f64()),
        _ => format!("went away: {error}"),
    };
    Failure::unreachable(format!("{address} {why}"))
}

/// Prints at once; whether somebody is still there to read it.
fn print_to(output: &mut dyn Write, bytes: &[u8]) -> Result<bool, Failure> {
    match output.write_all(bytes).and_then(|()| output.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::unwritable(format!("printing: {error}"))),
    }
}

fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES)]);
    text.trim_end_matches('\n').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn server(answer: fn(&[u8]) -> Vec<u8>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 16_384];
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

    #[test]
    fn a_line_that_fits_into_no_buffer_comes_back() {
        let line = format!("{}\n", "a".repeat(64 << 20));
        let (ended, output) = type_lines(server(<[u8]>::to_vec), &line);
        ended.unwrap();
        assert!(output.starts_with(line.trim_end()), "{} bytes came back", output.len());
    }

    #[test]
    fn a_server_that_stops_reading_is_given_up_after_the_timeout() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let line = "a".repeat(64 << 20);
        let begun = Instant::now();
        let address = listener.local_addr().unwrap();
        let ended = run(
            address,
            Duration::from_millis(300),
            &mut line.as_bytes(),
            &mut Vec::new(),
        );
        let failure = ended.unwrap_err();
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(
            failure.text.ends_with("sent no whole echo within 0.3 s (--timeout)"),
            "{failure}"
        );
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}

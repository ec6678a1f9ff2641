// A TCP echo server on Node's event loop: node node.js PORT
const net = require("net");

const server = net.createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
  socket.on("error", () => socket.destroy());
  // pipe() stops reading while the client does not, and ends when it has ended.
  socket.pipe(socket);
});
server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });

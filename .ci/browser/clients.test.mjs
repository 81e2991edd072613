// Clients of other makers, written from LIVE.md alone.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";

import { EventSource } from "eventsource";
import WebSocket from "ws";

import { ORIGIN, castVotes, createPoll, deletePoll, prepare, server, until } from "./support.mjs";

prepare({ needsBrowser: false });

const SOCKETS = ORIGIN.replace("http:", "ws:");
const TEA = { question: "Tea or coffee?", options: ["Tea", "Coffee"] };

/** A socket that keeps its frames until the test ends. */
async function socketOf(context, path) {
  const socket = new WebSocket(SOCKETS + path);
  context.after(() => socket.terminate());
  const frames = [];
  socket.on("message", (data) => frames.push(JSON.parse(data)));
  await once(socket, "open");
  return { socket, frames };
}

/** A stream of events that keeps its frames, their ids, and what it said it had seen whenever it connected. */
async function streamOf(context, path) {
  const [frames, ids, seen, problems] = [[], [], [], []];
  const source = new EventSource(ORIGIN + path, {
    fetch: (address, options) => {
      seen.push(new Headers(options.headers).get("Last-Event-ID"));
      return fetch(address, options);
    },
  });
  context.after(() => source.close());
  source.addEventListener("results", ({ data, lastEventId }) => {
    frames.push(JSON.parse(data));
    ids.push(lastEventId);
  });
  source.addEventListener("error", ({ data }) => data && problems.push(JSON.parse(data)));
  await until(() => source.readyState === EventSource.OPEN);
  return { source, frames, ids, seen, problems };
}

const versions = (frames) => frames.map(({ epoch, version }) => `${epoch}.${version}`);
const votes = (frame) => frame.options.map((option) => option.votes);
const seesVoters = (frames, count) => until(() => frames.at(-1)?.voters === count);

test("a socket and a stream of events begin with a snapshot and show the vote", async (context) => {
  const poll = await createPoll(TEA);
  const { frames } = await socketOf(context, `/polls/${poll.id}/live`);
  const stream = await streamOf(context, `/polls/${poll.id}/events`);
  await seesVoters(frames, 0);
  await seesVoters(stream.frames, 0);
  await castVotes(poll, [1, 2]);
  for (const shown of [frames, stream.frames]) {
    await seesVoters(shown, 3);
    const { type, poll_id, state } = shown.at(-1);
    assert.deepEqual({ type, poll_id, state }, { type: "results", poll_id: poll.id, state: "open" });
    assert.deepEqual(votes(shown.at(-1)), [1, 2]);
  }
  assert.deepEqual(stream.ids, versions(stream.frames));
});

test("a stream goes on after the server was restarted, with nothing twice and nothing missing", async (context) => {
  const poll = await createPoll(TEA);
  const { frames, ids, seen } = await streamOf(context, `/polls/${poll.id}/events`);
  await castVotes(poll, [1, 0]);
  await seesVoters(frames, 1);
  const last = ids.at(-1);
  await server.kill();
  await server.start();
  await until(() => seen.length > 1 && seen.at(-1) === last);
  await castVotes(poll, [0, 1]);
  await seesVoters(frames, 2);
  assert.deepEqual(votes(frames.at(-1)), [1, 1]);
  assert.equal(new Set(ids).size, ids.length, `something came twice: ${ids}`);
});

test("a socket that comes back with what it has gets only what is newer", async (context) => {
  const poll = await createPoll(TEA);
  const first = await socketOf(context, `/polls/${poll.id}/live`);
  await castVotes(poll, [1, 0]);
  await seesVoters(first.frames, 1);
  first.socket.close();
  const second = await socketOf(context, `/polls/${poll.id}/live?after=${versions(first.frames).at(-1)}`);
  await castVotes(poll, [1, 0]);
  await seesVoters(second.frames, 2);
  assert.equal(second.frames.length, 1);
});

test("one socket shows several polls and the leaderboard, and says what it cannot", async (context) => {
  const [first, second] = [await createPoll(TEA), await createPoll(TEA)];
  const unknown = first.id.replaceAll(/[0-9a-f]{4}$/g, "0000");
  const { socket, frames } = await socketOf(context, "/live");
  socket.send(JSON.stringify({ subscribe: [first.id, second.id, unknown], leaderboard: true }));
  const newest = (type, poll) => frames.findLast((frame) => frame.type === type && (!poll || frame.poll_id === poll.id));
  await until(() => newest("results", first) && newest("results", second) && newest("leaderboard"));
  await until(() => newest("error", { id: unknown }));
  assert.equal(newest("error").problem, "/problems/poll-not-found");
  await castVotes(second, [0, 7]);
  await until(() => newest("results", second).voters === 7);
  await until(() => newest("leaderboard").entries.some(({ poll_id, votes }) => poll_id === second.id && votes === 7));
  socket.send(JSON.stringify({ unsubscribe: [second.id], leaderboard: false, subscribe: [] }));
  socket.send("this is no JSON");
  await until(() => newest("error").status === 400);
  await castVotes(second, [1, 0]);
  await castVotes(first, [1, 0]);
  await until(() => newest("results", first).voters === 1);
  assert.equal(newest("results", second).voters, 7);
});

test("a poll that is deleted ends with a frame, and is not looked for again", async (context) => {
  const poll = await createPoll(TEA);
  const { socket, frames } = await socketOf(context, `/polls/${poll.id}/live`);
  const { source, problems } = await streamOf(context, `/polls/${poll.id}/events`);
  const closed = once(socket, "close");
  await deletePoll(poll);
  assert.equal((await closed)[0], 1000);
  for (const said of [frames, problems]) {
    await until(() => said.at(-1)?.problem === "/problems/poll-not-found");
  }
  await until(() => source.readyState === EventSource.CLOSED);
});

// What the receiver of StatsD has added up, one line of JSON for each of its rounds.
exports.init = (_start, _config, events) => {
  events.on("flush", (_time, { counters, gauges }) => console.log(JSON.stringify({ counters, gauges })));
  return true;
};

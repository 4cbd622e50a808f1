// What every scenario shares: where PAR is, how a call looks, and what is told at the end.
//
// By hand: k6 run -e BASE=http://127.0.0.1:8000 -e SECONDS=30 loadtest/k6/steady.js
import http from "k6/http";
import { check } from "k6";

export const BASE = __ENV.BASE || "http://127.0.0.1:8000";
export const SECONDS = Number(__ENV.SECONDS || 60);
const HEADERS = {
  "Content-Type": "application/json",
  ...(__ENV.TOKEN ? { Authorization: `Bearer ${__ENV.TOKEN}` } : {}),
};

// Calls start at their time whether or not earlier ones have ended. One that finds nobody free to make it is dropped, and a
// dropped one fails the run: so the times are those from the intended start.
export function open(rate, seconds = SECONDS, callers = 100) {
  return {
    executor: "constant-arrival-rate",
    rate,
    timeUnit: "1s",
    duration: `${seconds}s`,
    preAllocatedVUs: callers,
    maxVUs: callers * 5,
  };
}

export function options(scenarios, thresholds) {
  return {
    scenarios,
    thresholds: { http_req_failed: ["rate==0"], dropped_iterations: ["count==0"], ...thresholds },
    summaryTrendStats: ["min", "avg", "med", "p(90)", "p(95)", "p(99)", "p(99.9)", "max", "count"],
    // The certificate of a test is its own.
    insecureSkipTLSVerify: true,
    discardResponseBodies: false,
  };
}

export function call(agent, input, extra = {}) {
  const { headers, ...rest } = extra;
  return http.post(`${BASE}/agents/${agent}/invoke`, JSON.stringify(input), {
    headers: { ...HEADERS, ...headers },
    ...rest,
  });
}

export function answered(response, fits = () => true) {
  return check(response, { answered: (told) => told.status === 200 && fits(told) });
}

// The file named by RESULT gets everything; a terminal the few lines that matter.
export function handleSummary(data) {
  const time = data.metrics.http_req_duration.values;
  const line = `${data.metrics.http_reqs.values.count} calls, p50 ${time.med.toFixed(2)} ms, p95 ${time["p(95)"].toFixed(2)} ms, p99 ${time["p(99)"].toFixed(2)} ms\n`;
  return __ENV.RESULT ? { stdout: line, [__ENV.RESULT]: JSON.stringify(data) } : { stdout: line };
}

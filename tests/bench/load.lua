-- A wrk script: each request is one event of about 700 bytes with its own id. The arguments after "--" are a label that
-- no earlier run used, and then "hot" to send all events of one customer, or "wait" to ask for each answer after the
-- delivery of the event.
local label, customer, count = "run", nil, 0

local function image(name, email, phone, line1, line2, city, postal_code, tier, amount, tenure)
  return string.format(
    '{"name":"%s","email":"%s@example.com","phone":"%s","preferred_language":"en","address":{"line1":"%s","line2":"%s",' ..
    '"city":"%s","region":"OR","postal_code":"%s","country":"US"},"loyalty_tier":"%s",' ..
    '"ltv":{"amount":%s,"currency":"USD"},"tenure":%d}',
    name, email, phone, line1, line2, city, postal_code, tier, amount, tenure)
end

local rest = '","before":' ..
  image("Maren Holt", "maren.holt", "+15035550119", "310 Cedar St", "Apt 9", "Portland", "97205", "silver", "1200.5", 24) ..
  ',"after":' ..
  image("Maren Holt-Osei", "maren.osei", "+15035550147", "61 Fern Ln", "Suite 400", "Bend", "97701", "gold", "1310.75", 25) ..
  "}"

function init(arguments)
  label = arguments[1] or label
  if arguments[2] == "hot" then customer = "hot_" .. label end
  wrk.method = "POST"
  wrk.path = "/v1/sources/bench/events"
  wrk.headers["Content-Type"] = "application/json"
  if arguments[2] == "wait" then wrk.headers["Prefer"] = "wait=10" end
end

function request()
  count = count + 1
  local id = label .. "_" .. count
  return wrk.format(nil, nil, nil, '{"event_id":"' .. id ..
    '","type":"customer.updated","occurred_at":"2026-01-02T03:04:05Z","customer_id":"' .. (customer or id) .. rest)
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests":%d,"microseconds":%d,"refused":%d,"broken":%d,"p50_us":%d,"p99_us":%d}\n',
    summary.requests, summary.duration, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end

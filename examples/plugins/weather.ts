import { definePlugin, GatewayError, Type } from "agentbus/plugin";

/**
 * The weather, for models (a tool), for clients (a method) and for anything that speaks HTTP (a route). It comes from
 * open-meteo.com, which needs no key; WEATHER_URL and GEOCODING_URL name other servers with the same API.
 */

const WEATHER = process.env["WEATHER_URL"] ?? "https://api.open-meteo.com";
const GEOCODING = process.env["GEOCODING_URL"] ?? "https://geocoding-api.open-meteo.com";

const City = Type.Object({
  city: Type.String({ minLength: 1, maxLength: 100, description: "such as Oslo" }),
});

interface Weather {
  readonly place: string;
  readonly temperature_c: number;
  readonly wind_kmh: number;
}

async function weatherOf(city: string, signal: AbortSignal): Promise<Weather> {
  const search = new URLSearchParams({ name: city, count: "1" });
  const { results } = await read<{ results?: readonly Found[] }>(`${GEOCODING}/v1/search?${search}`, signal);
  const found = results?.[0];
  if (found === undefined) throw new GatewayError("NOT_FOUND", `there is no place called ${city}`);
  const { name, country, latitude, longitude } = found;
  const where = `latitude=${latitude}&longitude=${longitude}&current=temperature_2m,wind_speed_10m`;
  const { current } = await read<{ current: Current }>(`${WEATHER}/v1/forecast?${where}`, signal);
  return {
    place: `${name}, ${country}`,
    temperature_c: current.temperature_2m,
    wind_kmh: current.wind_speed_10m,
  };
}

interface Found {
  readonly name: string;
  readonly country: string;
  readonly latitude: number;
  readonly longitude: number;
}

interface Current {
  readonly temperature_2m: number;
  readonly wind_speed_10m: number;
}

/** What is wrong elsewhere is an answer, no fault of the plug-in. */
async function read<T>(url: string, signal: AbortSignal): Promise<T> {
  try {
    const response = await fetch(url, { signal });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    return (await response.json()) as T;
  } catch (cause) {
    throw new GatewayError("UPSTREAM_ERROR", "the weather cannot be had just now", { cause });
  }
}

export default definePlugin({
  name: "weather",
  version: "1.0.0",
  description: "The weather of a city, by open-meteo.com.",
  methods: {
    "weather.get": {
      scope: "chat.read",
      doc: "The weather of a city now.",
      params: City,
      result: Type.Object({ place: Type.String(), temperature_c: Type.Number(), wind_kmh: Type.Number() }),
      run: ({ city }, { signal }) => weatherOf(city, signal),
    },
  },
  tools: {
    weather: {
      description: "The weather of a city now: temperature and wind.",
      parameters: City,
      async run({ city }, { signal }) {
        const { place, temperature_c, wind_kmh } = await weatherOf(city, signal);
        return `${place}: ${temperature_c} °C, wind ${wind_kmh} km/h`;
      },
    },
  },
  routes: {
    "GET /:city": {
      scope: "chat.read",
      doc: "The weather of a city now.",
      run: (_request, { params, signal }) => weatherOf(params["city"] ?? "", signal),
    },
  },
});

import { AsyncLocalStorage } from 'node:async_hooks';
import {
  type Context,
  defaultTextMapGetter,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  BasicTracerProvider,
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace-base';
import type { Observer } from './observer.js';
import type { TracedRequest, Traces } from './traces.js';

export interface OtlpOptions {
  /** Of an OTLP receiver over HTTP: `http://collector:4318/v1/traces`. */
  readonly endpoint: string;
  readonly service: string;
  /** The share of requests to trace, where no caller decided: 0 to 1. */
  readonly sample: number;
}

/**
 * Spans as OpenTelemetry has them: one for each request, going on from a caller's `traceparent`, and one for each operation
 * of the storage and the database below it. Names: https://opentelemetry.io/docs/specs/semconv/
 */
export class OtlpTraces implements Traces {
  readonly #provider: BasicTracerProvider;
  readonly #tracer: Tracer;
  readonly #running = new AsyncLocalStorage<Context>();
  readonly #propagator = new W3CTraceContextPropagator();

  constructor({ endpoint, service, sample }: OtlpOptions) {
    this.#provider = new BasicTracerProvider({
      resource: resourceFromAttributes({ 'service.name': service }),
      sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(sample) }),
      spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter({ url: endpoint }))],
    });
    this.#tracer = this.#provider.getTracer('larder');
  }

  request<T>({ incoming, outgoing, record }: TracedRequest, handle: () => T): T {
    const caller = this.#propagator.extract(ROOT_CONTEXT, incoming.headers, defaultTextMapGetter);
    const span = this.#tracer.startSpan(incoming.method ?? '', { kind: SpanKind.SERVER }, caller);
    if (!span.isRecording()) return handle();
    outgoing.once('close', () => {
      const { statusCode } = outgoing;
      const route = record.route?.template;
      if (route !== undefined) span.updateName(`${incoming.method} ${route}`);
      span.setAttributes({
        'http.request.method': incoming.method ?? '',
        'http.response.status_code': statusCode,
        'url.path': (incoming.url ?? '').replace(/\?.*/, ''),
        'larder.request': record.id,
        ...(route === undefined ? {} : { 'http.route': route }),
        ...(record.cache === undefined ? {} : { 'larder.cache': record.cache }),
      });
      finish(span, { failed: statusCode >= 500 });
    });
    return this.#running.run(trace.setSpan(ROOT_CONTEXT, span), handle);
  }

  readonly observer: Observer = {
    storage: (operation, seconds, failed) => this.#past(`storage ${operation}`, { seconds, failed }),
    database: (kind, seconds, failed) => this.#past(`database ${kind}`, { seconds, failed }),
  };

  /** Work that is done: its span is made in hindsight. */
  #past(name: string, { seconds, failed }: { readonly seconds: number; readonly failed: boolean }): void {
    const context = this.#running.getStore();
    if (context === undefined) return;
    const end = Date.now();
    const startTime = end - seconds * 1000;
    finish(this.#tracer.startSpan(name, { kind: SpanKind.CLIENT, startTime }, context), { failed, end });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A receiver that is away loses its spans, and no more.
    await this.#provider.shutdown().catch(() => undefined);
  }
}

function finish(span: Span, { failed, end }: { readonly failed: boolean; readonly end?: number }): void {
  if (failed) span.setStatus({ code: SpanStatusCode.ERROR });
  span.end(end);
}

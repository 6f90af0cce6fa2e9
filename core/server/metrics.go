package server

import (
	"errors"
	"reflect"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

// metrics is what the server counts. Its labels are bounded: names of listeners, of
// requests that the handler takes, and of error codes.
type metrics struct {
	connections   *prometheus.GaugeVec
	accepted      *prometheus.CounterVec
	refused       *prometheus.CounterVec
	requests      *prometheus.CounterVec
	requestBytes  *prometheus.CounterVec
	responseBytes *prometheus.CounterVec
	throttled     *prometheus.CounterVec
	penalties     *prometheus.CounterVec
	duration      *prometheus.HistogramVec
	inFlight      prometheus.Gauge
	stages        *prometheus.HistogramVec
	// stageOf has the observers of stages of the requests that are looked at closely.
	stageOf map[int16]*[stageCount]prometheus.Observer
}

// stage is a part of a request's time in the server.
type stage int

// The stages of a request, in their order.
const (
	stageRequestQueue  stage = iota // from its first byte until it is begun: decoding, and room in memory
	stageBegin                      // what its order on the connection demands: a Produce is read, validated and appended
	stageResponseQueue              // until it is its answer's turn on the connection
	stageWait                       // for acknowledgements, or for something to read
	stageSend                       // until the client has taken the answer
	stageCount
)

var stageNames = [stageCount]string{"request_queue", "begin", "response_queue", "wait", "send"}

// newMetrics registers the metrics with reg; nil leaves them unregistered.
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "quorate_connections", Help: "Open connections.",
		}, []string{"listener"}),
		accepted:      counter("quorate_connections_accepted_total", "Connections accepted.", "listener"),
		refused:       counter("quorate_connections_refused_total", "Connections closed at once because of a limit.", "listener", "reason"),
		requests:      counter("quorate_requests_total", "Requests answered, by the error code of the whole answer.", "api", "error"),
		requestBytes:  counter("quorate_request_bytes_total", "Bytes of requests.", "api"),
		responseBytes: counter("quorate_response_bytes_total", "Bytes of responses.", "api"),
		penalties:     counter("quorate_connection_penalty_seconds_total", "Seconds that connections waited because others of their address had broken the protocol.", "listener"),
		throttled:     counter("quorate_throttle_seconds_total", "Seconds that clients were told to wait, and their connections not read.", "api"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "quorate_request_duration_seconds",
			Help:    "From the last byte of a request to the last byte of its response.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 14), // 0.1 ms to 15 s
		}, []string{"api"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "quorate_requests_in_flight", Help: "Requests that were begun and are not answered yet.",
		}),
		stages: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "quorate_request_stage_seconds",
			Help:    "The parts of the time of Produce and Fetch requests.",
			Buckets: prometheus.ExponentialBuckets(0.00002, 2.5, 16), // 20 us to 19 s
		}, []string{"api", "stage"}),
		stageOf: map[int16]*[stageCount]prometheus.Observer{},
	}
	for _, key := range []int16{protocol.KeyProduce, protocol.KeyFetch} {
		m.stageOf[key] = &[stageCount]prometheus.Observer{}
		for s, name := range stageNames {
			m.stageOf[key][s] = m.stages.WithLabelValues(kmsg.NameForKey(key), name)
		}
	}
	if reg == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{
		m.connections, m.accepted, m.refused, m.requests, m.requestBytes, m.responseBytes, m.throttled, m.penalties, m.duration,
		m.inFlight, m.stages,
	} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}

// spent counts the time of a stage.
func (m *metrics) spent(x *exchange, s stage, d time.Duration) {
	if o := m.stageOf[x.header.Key]; o != nil {
		o[s].Observe(d.Seconds())
	}
}

// done counts an exchange that is over.
func (m *metrics) done(x *exchange, result string) {
	m.requests.WithLabelValues(x.api, result).Inc()
	m.duration.WithLabelValues(x.api).Observe(time.Since(x.arrived).Seconds())
}

// codeFields holds the index of the field ErrorCode in the struct of each type of
// response that was seen, -1 if it has none.
var codeFields = struct {
	sync.RWMutex
	index map[reflect.Type]int
}{index: make(map[reflect.Type]int)}

// topCode returns the error code of a whole response, zero if it has none.
func topCode(resp protocol.Response) int16 {
	v := reflect.ValueOf(resp).Elem()
	if i := codeField(v.Type()); i >= 0 {
		return int16(v.Field(i).Int()) // its kind is int16
	}
	return 0
}

func codeField(t reflect.Type) int {
	codeFields.RLock()
	i, known := codeFields.index[t]
	codeFields.RUnlock()
	if known {
		return i
	}
	i = -1
	if f, ok := t.FieldByName("ErrorCode"); ok && f.Type.Kind() == reflect.Int16 {
		i = f.Index[0]
	}
	codeFields.Lock()
	codeFields.index[t] = i
	codeFields.Unlock()
	return i
}

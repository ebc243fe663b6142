// Cards without hardware, for a real kubelet: simulated in everything but how they are asked for, given out and lost.
//
//	simulated-cards plugin    registers with the kubelet and answers it, until it is told to end
//	simulated-cards mark ID… healthy|unhealthy
//	simulated-cards list      a line for each card: its name and its health
//
// What the kubelet sees is what it sees of MindCluster's device plugin: one resource, named cards, exclusive, with
// health. A container gets what Ascend Docker Runtime would give it: ASCEND_VISIBLE_DEVICES, the card's device node and
// the shared ones, the driver's files read-only; each device node is /dev/null, so nothing can be computed on it.
// Two variables are ours, since a container cannot ask a card that is not there: SDXL_SIMULATED_CHIP and
// SDXL_SIMULATED_DRIVER.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const (
	poll     = 300 * time.Millisecond
	endpoint = "simulated-ascend.sock"
)

// Device nodes that every container with a card has beside the card's own.
var sharedNodes = []string{"/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc"}

// Driver folders that Ascend Docker Runtime mounts.
var driverFolders = []string{"/usr/local/Ascend/driver/lib64", "/usr/local/Ascend/driver/include", "/usr/local/dcmi"}

type options struct {
	resource, chip, driver, folder, state, hostState string
	cards                                            int
}

func main() {
	log.SetFlags(0)
	known, words := parse()
	var err error
	switch {
	case len(words) == 1 && words[0] == "plugin":
		err = serve(known)
	case len(words) == 1 && words[0] == "list":
		for _, card := range known.devices() {
			fmt.Println(card.ID, card.Health)
		}
	case len(words) > 2 && words[0] == "mark":
		err = known.mark(words[1:len(words)-1], words[len(words)-1])
	default:
		err = errors.New("usage: simulated-cards [options] plugin | list | mark ID… healthy|unhealthy")
	}
	if err != nil {
		log.Fatal(err)
	}
}

func parse() (options, []string) {
	cards, err := strconv.Atoi(variable("CARDS", "1"))
	if err != nil {
		log.Fatalf("CARDS is %q; it must be a number of cards", os.Getenv("CARDS"))
	}
	var known options
	flag.StringVar(&known.resource, "resource", variable("RESOURCE", "huawei.com/Ascend910"), "what the cards are called")
	flag.IntVar(&known.cards, "cards", cards, "how many there are")
	flag.StringVar(&known.chip, "chip", variable("CHIP", "910B3"), "what a container is told of the chip")
	flag.StringVar(&known.driver, "driver", variable("DRIVER", "25.5.0"), "what a container is told of the driver")
	flag.StringVar(&known.folder, "folder", api.DevicePluginPath, "where the kubelet's socket is")
	flag.StringVar(&known.state, "state", "/state", "a folder for health and the driver's files")
	flag.StringVar(&known.hostState, "host-state", variable("HOST_STATE", "/state"), "the same folder as the node sees it")
	flag.Parse()
	return known, flag.Args()
}

func variable(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// serve registers, and does so again whenever the kubelet was started anew: it forgets its plugins then.
func serve(known options) error {
	if err := known.writeDriver(); err != nil {
		return err
	}
	ended, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	for ended.Err() == nil {
		if err := known.serveOneKubelet(ended); err != nil {
			log.Printf("%v; trying again", err)
			time.Sleep(poll)
		}
	}
	return nil
}

func (known options) serveOneKubelet(ended context.Context) error {
	socket := filepath.Join(known.folder, endpoint)
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	within, stop := context.WithCancel(ended)
	server := grpc.NewServer()
	defer server.Stop()
	defer stop() // before Stop: a stream that is never told to end would keep the server
	api.RegisterDevicePluginServer(server, &plugin{options: known, within: within})
	go server.Serve(listener)
	kubelet := filepath.Join(known.folder, filepath.Base(api.KubeletSocket))
	before, err := os.Stat(kubelet)
	if err != nil {
		return err
	}
	if err := known.register(within, kubelet); err != nil {
		return err
	}
	log.Printf("%d of %s registered", known.cards, known.resource)
	for ended.Err() == nil {
		now, err := os.Stat(kubelet)
		_, mine := os.Stat(socket) // a kubelet that starts empties the folder
		if err != nil || mine != nil || !os.SameFile(before, now) || !before.ModTime().Equal(now.ModTime()) {
			log.Print("the kubelet went or was started anew")
			return nil
		}
		time.Sleep(poll)
	}
	return nil
}

func (known options) register(within context.Context, kubelet string) error {
	connection, err := grpc.NewClient("unix://"+kubelet, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	limited, stop := context.WithTimeout(within, 10*time.Second)
	defer stop()
	request := &api.RegisterRequest{Version: api.Version, Endpoint: endpoint, ResourceName: known.resource}
	_, err = api.NewRegistrationClient(connection).Register(limited, request)
	return err
}

type plugin struct {
	api.UnimplementedDevicePluginServer
	options
	within context.Context
}

func (*plugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

// ListAndWatch tells all cards at once, and again whenever the health of one changes.
func (known *plugin) ListAndWatch(_ *api.Empty, stream api.DevicePlugin_ListAndWatchServer) error {
	told := ""
	for known.within.Err() == nil && stream.Context().Err() == nil {
		cards := known.devices()
		if now := fmt.Sprint(cards); now != told {
			if err := stream.Send(&api.ListAndWatchResponse{Devices: cards}); err != nil {
				return err
			}
			told = now
		}
		time.Sleep(poll)
	}
	return nil
}

func (known *plugin) Allocate(_ context.Context, request *api.AllocateRequest) (*api.AllocateResponse, error) {
	response := &api.AllocateResponse{}
	for _, container := range request.ContainerRequests {
		response.ContainerResponses = append(response.ContainerResponses, known.container(container.DevicesIds))
	}
	return response, nil
}

func (known options) container(ids []string) *api.ContainerAllocateResponse {
	slices.Sort(ids)
	given := &api.ContainerAllocateResponse{
		Envs: map[string]string{
			"ASCEND_VISIBLE_DEVICES": strings.Join(ids, ","),
			"SDXL_SIMULATED_CHIP":    known.chip,
			"SDXL_SIMULATED_DRIVER":  known.driver,
		},
		Annotations: map[string]string{"huawei.com/AscendReal": strings.Join(ids, ",")},
	}
	for _, id := range ids {
		number := id[strings.LastIndex(id, "-")+1:]
		given.Devices = append(given.Devices, node("/dev/davinci"+number))
	}
	for _, path := range sharedNodes {
		given.Devices = append(given.Devices, node(path))
	}
	for _, path := range driverFolders {
		host := filepath.Join(known.hostState, "host", path)
		given.Mounts = append(given.Mounts, &api.Mount{ContainerPath: path, HostPath: host, ReadOnly: true})
	}
	return given
}

func node(path string) *api.DeviceSpec {
	return &api.DeviceSpec{ContainerPath: path, HostPath: "/dev/null", Permissions: "rw"}
}

// devices are named as MindCluster names them.
func (known options) devices() []*api.Device {
	content, _ := os.ReadFile(known.unhealthyFile()) // no file: all are well
	unhealthy := strings.Fields(string(content))
	prefix := known.resource[strings.LastIndex(known.resource, "/")+1:]
	cards := make([]*api.Device, known.cards)
	for number := range cards {
		card := &api.Device{ID: fmt.Sprintf("%s-%d", prefix, number), Health: api.Healthy}
		if slices.Contains(unhealthy, card.ID) {
			card.Health = api.Unhealthy
		}
		cards[number] = card
	}
	return cards
}

func (known options) unhealthyFile() string {
	return filepath.Join(known.state, "unhealthy")
}

func (known options) mark(ids []string, health string) error {
	if health != "healthy" && health != "unhealthy" {
		return fmt.Errorf("%q is neither healthy nor unhealthy", health)
	}
	var unhealthy []string
	for _, card := range known.devices() {
		sick := card.Health == api.Unhealthy
		if at := slices.Index(ids, card.ID); at >= 0 {
			sick, ids = health == "unhealthy", slices.Delete(ids, at, at+1)
		}
		if sick {
			unhealthy = append(unhealthy, card.ID)
		}
	}
	if len(ids) > 0 {
		return fmt.Errorf("there is no card %s", strings.Join(ids, ", "))
	}
	return os.WriteFile(known.unhealthyFile(), []byte(strings.Join(unhealthy, "\n")), 0o644)
}

// writeDriver puts files where a container finds those of a driver; what is in them says that they are simulated.
func (known options) writeDriver() error {
	files := map[string]string{
		"/usr/local/Ascend/driver/lib64/driver/simulated.txt": "no driver: simulated\n",
		"/usr/local/Ascend/driver/include/simulated.txt":      "no driver: simulated\n",
		"/usr/local/dcmi/simulated.txt":                       "no driver: simulated\n",
		"/usr/local/Ascend/driver/version.info":               "Version=" + known.driver + "\nsimulated=true\n",
	}
	for path, content := range files {
		path = filepath.Join(known.state, "host", path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}
